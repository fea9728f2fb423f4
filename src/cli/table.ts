/** Plain columns: the first to the left, figures to the right, no rules. */
import { styleText } from 'node:util';
import Table from 'cli-table3';

export type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red';

/** Colours text on a terminal, and leaves it alone in a pipe. */
export function paint(style: Style, text: string): string {
  return process.stdout.isTTY ? styleText(style, text) : text;
}

const PLACES = [
  ...['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left'],
  ...['bottom-right', 'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'],
];

/** `left` names further columns that are text. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  left: readonly number[] = [],
): string {
  const none = Object.fromEntries(PLACES.map((place) => [place, '']));
  const made = new Table({
    head: head.map((text) => paint('bold', text)),
    chars: { ...none, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: head.map((_, i) => (i === 0 || left.includes(i) ? 'left' : 'right')),
  });
  made.push(...rows.map((row) => [...row]));
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
