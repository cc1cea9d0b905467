/** zod's schemas as JSON Schema 2020-12, as OpenAPI 3.1 wants them. */
import { z } from 'zod';

export type JsonSchema = Record<string, unknown>;

/**
 * One schema; its parts with names of their own go among the components.
 * @throws Error when two different ones have one name
 */
export function jsonSchema(schema: z.ZodType, components: Map<string, JsonSchema>): JsonSchema {
  // `input`: what is sent over the wire; it also leaves objects open to members that come later.
  const { $schema: _, $defs, ...rest } = z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' });
  for (const [name, part] of Object.entries($defs ?? {})) {
    const { id: _id, ...described } = moved(part) as JsonSchema;
    const known = components.get(name);
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(described)) {
      throw new Error(`two schemas are called ${name}`);
    }
    components.set(name, described);
  }
  return moved(rest) as JsonSchema;
}

/** References point into the document's components; the widest range of integers says nothing and goes. */
function moved(part: unknown): unknown {
  if (Array.isArray(part)) return part.map(moved);
  if (typeof part !== 'object' || part === null) return part;
  return Object.fromEntries(
    Object.entries(part)
      .filter(([, value]) => value !== Number.MAX_SAFE_INTEGER && value !== Number.MIN_SAFE_INTEGER)
      .map(([name, value]) => [
        name,
        name === '$ref' && typeof value === 'string'
          ? value.replace('#/$defs/', '#/components/schemas/')
          : moved(value),
      ]),
  );
}
