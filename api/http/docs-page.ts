/**
 * The OpenAPI document as a page to read: one file of HTML without scripts, images or anything fetched from elsewhere. Its
 * style is let in by its hash, and nothing else is.
 */
import { createHash } from 'node:crypto';
import type { OpenApiDocument, OperationObject } from './openapi.ts';
import { code, escapeHtml, schemaHtml } from './docs-schema.ts';

const STYLE = `
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --accent: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --accent: #7aa5ff; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; }
main, header { max-width: 62rem; margin: 0 auto; padding: 1rem 1.25rem; }
h1 { margin: 1rem 0 0; font-size: 1.7rem; }
h2 { margin: 2.5rem 0 .25rem; padding-bottom: .25rem; border-bottom: 1px solid var(--line); }
h3 { margin: 0; font-size: 1rem; font-weight: 600; }
article { margin: 1.25rem 0; padding: 1rem 1.1rem; border: 1px solid var(--line); border-radius: .5rem; }
article > p { margin: .4rem 0; }
h4 { margin: 1.1rem 0 .3rem; font-size: .8rem; letter-spacing: .04em; text-transform: uppercase; opacity: .75; }
code, pre { font: .87em/1.5 ui-monospace, monospace; }
pre { margin: .3rem 0; padding: .6rem .75rem; overflow-x: auto; background: var(--soft); border-radius: .35rem; }
.method { display: inline-block; min-width: 4.2em; font-weight: 700; color: var(--accent); text-transform: uppercase; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
td, th { padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--soft); text-align: left; vertical-align: top; }
th { width: 1%; white-space: nowrap; font-weight: 500; }
a { color: var(--accent); }
.quiet { opacity: .75; }
ul.contents { padding: 0; list-style: none; }
`;

/** Of the page's answer: nothing may be loaded, run, framed or sent from it, but its own style. */
export const DOCS_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export function docsPage(document: OpenApiDocument): string {
  const { info, tags, paths, components } = document;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, described]) => ({ path, method, described })),
  );
  const sections = tags.map(({ name, description }) => {
    const own = operations.filter(({ described }) => described.tags[0] === name);
    return `<h2 id="${escapeHtml(name)}">${escapeHtml(name)}</h2><p>${escapeHtml(description)}</p>${own
      .map(({ path, method, described }) => operationHtml(path, method, described))
      .join('')}`;
  });
  const contents = operations.map(
    ({ path, method, described }) =>
      `<li><a href="#${described.operationId}"><span class="method">${method}</span>${escapeHtml(path)}</a></li>`,
  );
  const shapes = Object.entries(components.schemas).map(
    ([name, schema]) =>
      `<article id="schema-${escapeHtml(name)}"><h3>${escapeHtml(name)}</h3>${schemaHtml(schema)}</article>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${escapeHtml(info.title)}</title><style>${STYLE}</style></head>
<body><header><h1>${escapeHtml(info.title)}</h1><p class="quiet">Version ${escapeHtml(info.version)} · <a href="openapi.json">openapi.json</a></p>
${paragraphs(info.description)}<ul class="contents">${contents.join('')}</ul></header>
<main>${sections.join('')}<h2 id="schemas">Shapes</h2>${shapes.join('')}</main></body></html>
`;
}

function operationHtml(path: string, method: string, operation: OperationObject): string {
  const { operationId, summary, description = '', parameters = [], requestBody, responses } = operation;
  return `<article id="${operationId}"><h3><span class="method">${method}</span><code>${escapeHtml(path)}</code></h3>
<p>${escapeHtml(summary)}</p>${paragraphs(description)}<p class="quiet">${credential(operation)}</p>${
    parameters.length === 0 ? '' : `<h4>Parameters</h4><table>${parameters.map(parameterHtml).join('')}</table>`
  }${requestBody === undefined ? '' : bodyHtml(requestBody.content)}
<h4>Answers</h4><table>${Object.entries(responses).map(responseHtml).join('')}</table></article>`;
}

function credential({ security }: OperationObject): string {
  if (security.length === 0) return 'Open to anybody.';
  const ways = security.map((each) =>
    Object.entries(each)
      .map(([scheme, needs]) => `${scheme}${needs.length > 0 ? ` (${needs.join(', ')})` : ''}`)
      .join(' and '),
  );
  return escapeHtml(`Credential: ${ways.map((way) => way || 'none').join(' or ')}.`);
}

function parameterHtml(parameter: Record<string, unknown>): string {
  const {
    name,
    in: place,
    required,
    description = '',
    schema,
  } = parameter as {
    name: string;
    in: string;
    required: boolean;
    description?: string;
    schema: Record<string, unknown>;
  };
  return `<tr><th>${code(name)}</th><td>${place}${required ? ', required' : ''}. ${escapeHtml(description)} ${schemaHtml(schema)}</td></tr>`;
}

function bodyHtml(content: NonNullable<OperationObject['requestBody']>['content']): string {
  return Object.entries(content)
    .map(([type, { schema, examples = {} }]) => {
      const shown = Object.values(examples).map(
        ({ summary, value }) =>
          `<p class="quiet">${escapeHtml(summary)}</p><pre>${escapeHtml(
            typeof value === 'string' ? value : JSON.stringify(value, null, 2),
          )}</pre>`,
      );
      return `<h4>Body: ${escapeHtml(type)}</h4>${schemaHtml(schema)}${shown.join('')}`;
    })
    .join('');
}

function responseHtml([status, response]: [string, OperationObject['responses'][string]]): string {
  const headers = Object.entries(response.headers ?? {}).map(
    ([name, { description }]) => `<br>${code(name)}: ${escapeHtml(description)}`,
  );
  const problem = response.content?.['application/problem+json'];
  const bodies = Object.entries(response.content ?? {})
    .filter(([type]) => type !== 'application/problem+json')
    .map(
      ([type, { schema }]) =>
        `<p class="quiet">${escapeHtml(type)}</p>${schema === undefined ? '' : schemaHtml(schema)}`,
    );
  return `<tr><th>${status}</th><td>${problem === undefined ? '' : 'Problem: '}${escapeHtml(response.description)}${headers.join('')}${bodies.join('')}</td></tr>`;
}

function paragraphs(text: string): string {
  return text
    .split('\n\n')
    .filter((paragraph) => paragraph !== '')
    .map((paragraph) => `<p>${escapeHtml(paragraph)}</p>`)
    .join('');
}
