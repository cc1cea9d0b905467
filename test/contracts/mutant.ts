import type { Hex } from 'viem';
import { registrySource } from '../../contracts/build.ts';
import { compile } from '../../contracts/compile.ts';

/**
 * Creation bytecode of a SealRegistry in which one piece of the source is replaced: the control that shows that a test
 * fails when the rule is gone.
 *
 * @throws Error when the source does not hold `rule` exactly once
 */
export function registryWithout(rule: string, replacement = ''): Hex {
  const compilation = compile([registrySource], (unit, source) => {
    if (unit !== registrySource) return source;
    const parts = source.split(rule);
    if (parts.length !== 2) throw new Error(`${parts.length - 1} times in ${unit}: ${rule}`);
    return parts.join(replacement);
  });
  return compilation.contract(registrySource, 'SealRegistry').bytecode;
}
