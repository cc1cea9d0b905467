/**
 * Makes the verification page: one file of HTML that holds its style and its script, and lets nothing else in. `npm run build`
 * writes it for the API to serve; `npm run build:verify` also writes `kiff-verify.html`, to keep.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { packageRoot } from '../dev/root.ts';

const source = (name: string): string => readFileSync(join(packageRoot, 'page', name), 'utf8');

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

async function script(): Promise<string> {
  const { outputFiles } = await build({
    absWorkingDir: packageRoot,
    entryPoints: ['page/verify.ts'],
    bundle: true,
    format: 'iife',
    platform: 'browser',
    target: ['chrome120', 'firefox121', 'safari17'],
    charset: 'utf8',
    legalComments: 'none',
    write: false,
  });
  // In HTML a script ends at the first such tag, wherever it stands.
  return outputFiles[0]!.text.replaceAll('</script', '<\\/script');
}

/** Its content-security policy without the directive that a meta element cannot have. */
function policyOf(style: string, code: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashOf(code)}`,
    `style-src ${hashOf(style)}`,
    // Whichever node the visitor names.
    'connect-src http: https:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}

const [style, code] = [`\n${source('verify.css')}`, `\n${await script()}`];
const policy = policyOf(style, code);
const page = source('verify.html')
  .replace(/\s*\{\{style\}\}\s*/, () => style)
  .replace(/\s*\{\{script\}\}\s*/, () => code)
  .replace('{{policy}}', () => policy);
mkdirSync(join(packageRoot, 'dist/page'), { recursive: true });
writeFileSync(join(packageRoot, 'dist/page/verify.html'), page);
writeFileSync(join(packageRoot, 'dist/page/verify.policy.txt'), policy);
if (process.argv.includes('--keep')) {
  writeFileSync(join(packageRoot, 'kiff-verify.html'), page);
  process.stdout.write(`kiff-verify.html (${Math.round(page.length / 1024)} KiB)\n`);
}
