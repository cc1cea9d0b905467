/** docker-compose.yml as the tests read it: parsed with its anchors merged, and its variables filled in as Compose does. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { packageRoot } from '../../dev/root.ts';

export interface Service {
  image: string;
  profiles?: string[];
  command?: string[];
  entrypoint?: string[];
  environment?: Record<string, string>;
  networks?: string[];
  network_mode?: string;
  ports?: string[];
  volumes?: string[];
  read_only?: boolean;
  cap_drop?: string[];
  security_opt?: string[];
  restart?: string;
  build?: { target: string };
  depends_on?: Record<string, { condition: string; required?: boolean }>;
}

export interface ComposeFile {
  services: Record<string, Service>;
  networks: Record<string, { internal?: boolean }>;
  configs: Record<string, { content: string }>;
}

const text = readFileSync(join(packageRoot, 'docker-compose.yml'), 'utf8');

/** The file as it is written, `${…}` and all. */
export const written = parse(text, { merge: true }) as ComposeFile;

/** The development values of all variables. */
export const developmentValues: Readonly<Record<string, string>> = Object.fromEntries(
  readFileSync(join(packageRoot, 'dev/compose.env'), 'utf8')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line))
    .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
);

const VARIABLE = /\$(?:\$|\{([A-Z0-9_]+)(?::([?-])([^}]*))?\})/g;

/** The variables that a value asks for. */
export function variablesIn(value: unknown): string[] {
  return [...JSON.stringify(value ?? null).matchAll(VARIABLE)].flatMap(([, name]) => name ?? []);
}

/**
 * Fills in `${NAME}`, `${NAME:?…}` and `${NAME:-default}`; `$$` becomes `$`.
 * @throws Error when a variable has neither a value nor a default
 */
export function filled(value: string, values: Readonly<Record<string, string>>): string {
  return value.replaceAll(VARIABLE, (whole: string, name?: string, kind?: string, rest?: string) => {
    if (name === undefined) return '$';
    const given = values[name];
    if (given !== undefined && given !== '') return given;
    if (kind === '-') return rest ?? '';
    throw new Error(`${whole}: no value`);
  });
}

/** A service's environment with the development values filled in. */
export function environmentOf(service: string): Record<string, string> {
  const environment = written.services[service]?.environment ?? {};
  return Object.fromEntries(
    Object.entries(environment).map(([name, value]) => [name, filled(value, developmentValues)]),
  );
}
