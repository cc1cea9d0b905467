/** JSON Schema as HTML: the parts of it that zod writes for our shapes. */

type JsonSchema = Record<string, unknown>;

/** Deeper than any of our shapes; a schema that contains itself ends here. */
const MAX_DEPTH = 8;

export function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}

export function code(text: string): string {
  return `<code>${escapeHtml(text)}</code>`;
}

/** A schema's type in a line, and its members in a table below. */
export function schemaHtml(schema: JsonSchema, depth = 0): string {
  const members = depth < MAX_DEPTH ? membersHtml(schema, depth) : '';
  const { description } = schema as { description?: string };
  return `${typeHtml(schema)}${description === undefined ? '' : `: ${escapeHtml(description)}`}${members}`;
}

function membersHtml(schema: JsonSchema, depth: number): string {
  const {
    properties,
    items,
    anyOf,
    required = [],
  } = schema as {
    properties?: Record<string, JsonSchema>;
    items?: JsonSchema;
    anyOf?: JsonSchema[];
    required?: string[];
  };
  if (items !== undefined) return membersHtml(items, depth);
  if (anyOf !== undefined) return anyOf.map((one) => membersHtml(one, depth)).join('');
  if (properties === undefined || Object.keys(properties).length === 0) return '';
  const rows = Object.entries(properties).map(
    ([name, member]) =>
      `<tr><th>${code(name)}${required.includes(name) ? '' : ' <span class="quiet">optional</span>'}</th><td>${schemaHtml(member, depth + 1)}</td></tr>`,
  );
  return `<table>${rows.join('')}</table>`;
}

function typeHtml(schema: JsonSchema): string {
  const {
    $ref,
    type,
    items,
    anyOf,
    allOf,
    const: fixed,
    enum: values,
    format,
    pattern,
  } = schema as {
    $ref?: string;
    type?: string;
    items?: JsonSchema;
    anyOf?: JsonSchema[];
    allOf?: JsonSchema[];
    const?: unknown;
    enum?: unknown[];
    format?: string;
    pattern?: string;
  };
  if ($ref !== undefined) {
    const name = escapeHtml($ref.split('/').at(-1) ?? '');
    return `<a href="#schema-${name}">${name}</a>`;
  }
  if (fixed !== undefined) return code(JSON.stringify(fixed));
  if (values !== undefined) return values.map((value) => code(JSON.stringify(value))).join(' or ');
  if (anyOf !== undefined) return anyOf.map(typeHtml).join(' or ');
  if (allOf !== undefined) return allOf.map(typeHtml).join(' and ');
  if (type === 'array') return `array of ${items === undefined ? 'anything' : typeHtml(items)}`;
  const limits = [format, pattern === undefined ? undefined : `matching ${code(pattern)}`].filter(
    (limit) => limit !== undefined,
  );
  return `${type ?? 'anything'}${limits.length > 0 ? ` (${limits.join(', ')})` : ''}`;
}
