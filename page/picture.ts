/** The picture of a receipt's path: the entry, each hash that it is joined with on the way up, the root, the seal, the chain. */
import type { CheckName, CheckStatus, Receipt } from '../protocol/index.ts';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 640;
const ROW = 46;
const BOX = { width: 230, height: 30 };
/** More steps than this are drawn as one. */
const MAX_STEPS = 12;

type Attributes = Readonly<Record<string, string | number>>;

function shape(parent: Element, name: string, attributes: Attributes, text = ''): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = text;
  parent.append(made);
  return made;
}

const short = (hash: string): string => `${hash.slice(0, 10)}…${hash.slice(-6)}`;

/** Whether each sibling of the path stands on the left, from the leaf up (RFC 9162 section 2.1.3.2). */
function sides({ leafIndex, seal, inclusion }: Receipt): boolean[] {
  let [first, last] = [leafIndex, seal.treeSize - 1];
  return inclusion.map(() => {
    const left = first % 2 === 1 || first === last;
    if (left) while (first % 2 === 0 && first !== 0) [first, last] = [Math.floor(first / 2), Math.floor(last / 2)];
    [first, last] = [Math.floor(first / 2), Math.floor(last / 2)];
    return left;
  });
}

/**
 * Draws it from the top: chain, seal, root, path, entry. What did not hold is drawn broken.
 * @param statusOf what became of a check
 */
export function drawPath(receipt: Receipt, statusOf: (name: CheckName) => CheckStatus | undefined): SVGElement {
  const { seal, anchor, registry, inclusion, leafIndex } = receipt;
  const bad = (...names: CheckName[]): boolean => names.some((name) => statusOf(name) === 'failed');
  const left = sides(receipt);
  const shown =
    inclusion.length <= MAX_STEPS
      ? inclusion.map((_, at) => at)
      : [0, 1, 2, -1, inclusion.length - 2, inclusion.length - 1];
  const rows = 4 + shown.length;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${WIDTH} ${rows * ROW + 10}`);
  svg.setAttribute('role', 'img');
  const described =
    `Leaf ${leafIndex} leads over ${inclusion.length} hashes to the root of a tree of ${seal.treeSize} leaves, which seal ${seal.seq} ` +
    `signs, and which block ${anchor.blockNumber} of chain ${registry.chainId} holds.`;
  svg.setAttribute('aria-label', described);

  const middle = WIDTH / 2;
  const box = (row: number, x: number, what: string, text: string, kind: string): void => {
    const y = row * ROW + 5;
    const [width, height] = [BOX.width, BOX.height];
    shape(svg, 'rect', { x: x - width / 2, y, width, height, rx: 6, class: kind });
    shape(svg, 'text', { x: x - width / 2 + 8, y: y + 20, class: 'what' }, what);
    shape(svg, 'text', { x: x + width / 2 - 8, y: y + 20, 'text-anchor': 'end' }, text);
  };
  const join = (row: number, from: number): void => {
    shape(svg, 'line', { x1: middle, y1: row * ROW + 5 + BOX.height, x2: from, y2: (row + 1) * ROW + 5 });
  };
  const own = (...names: CheckName[]): string => (bad(...names) ? 'bad' : 'own');
  box(0, middle, 'chain', `block ${anchor.blockNumber}`, own('anchor', 'finality'));
  join(0, middle);
  box(1, middle, `seal ${seal.seq}`, short(seal.signature), own('signature', 'handovers', 'log id'));
  join(1, middle);
  box(2, middle, 'root', short(seal.root), own('inclusion'));
  for (const [row, at] of shown.toReversed().entries()) {
    const below = 3 + row;
    join(below - 1, middle);
    if (at < 0) {
      shape(
        svg,
        'text',
        { x: middle, y: below * ROW + 25, 'text-anchor': 'middle' },
        `… ${inclusion.length - shown.length + 1} more …`,
      );
      continue;
    }
    const x = left[at] ? 118 : WIDTH - 118;
    join(below - 1, x);
    box(below, x, left[at] ? 'left of it' : 'right of it', short(inclusion[at] ?? ''), '');
    shape(svg, 'line', { x1: middle, y1: below * ROW + 5, x2: middle, y2: below * ROW + 5 + BOX.height });
  }
  const last = rows - 1;
  join(last - 1, middle);
  box(last, middle, `leaf ${leafIndex}`, `of ${seal.treeSize}`, own('leaf', 'inclusion'));
  return svg;
}
