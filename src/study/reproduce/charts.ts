/** Charts from quantities: the same paths pick our numbers and the paper's. */
import type { PaperChart, PaperPoint, PaperSeries } from '../../report/paper-chart.ts';
import type { FigureInput } from './types.ts';

type Look = Omit<PaperChart, 'kind' | 'form' | 'series'>;

/** Quantity path to our value, in the order of the table. */
export type Quantities = ReadonlyMap<string, number | null>;

export function quantityRows(quantities: Quantities) {
  return [...quantities].map(([quantity, ours]) => ({ quantity, ours }));
}

/** A bar for each label, ours beside the paper's. */
export function barChart(
  input: FigureInput,
  quantities: Quantities,
  bars: readonly { readonly label: string; readonly quantity: string }[],
  look: Look,
): PaperChart {
  const points = (value: (quantity: string) => number | null): PaperPoint[] =>
    bars.flatMap(({ label, quantity }) => {
      const y = value(quantity);
      return y === null ? [] : [{ x: label, y }];
    });
  const paper = points(input.paperValue);
  const series: PaperSeries[] = [
    ...(paper.length === 0 ? [] : [{ name: 'paper', of: 'paper' as const, points: paper }]),
    {
      name: 'ours',
      of: 'ours',
      points: points((quantity) => quantities.get(quantity) ?? null),
    },
  ];
  return { kind: 'paper', form: 'bars', series, ...look };
}

/** Lines over the places `xs`; the quantity at place i of a line is `path.i`. */
export function lineChart(
  input: FigureInput,
  quantities: Quantities,
  xs: readonly number[],
  lines: readonly { readonly name: string; readonly path: string }[],
  look: Look,
): PaperChart {
  const points = (path: string, value: (quantity: string) => number | null): PaperPoint[] =>
    xs.flatMap((x, i) => {
      const y = value(`${path}.${i}`);
      return y === null ? [] : [{ x, y }];
    });
  const series = lines.flatMap(({ name, path }): PaperSeries[] => [
    { name, of: 'ours', points: points(path, (quantity) => quantities.get(quantity) ?? null) },
    { name, of: 'paper', points: points(path, input.paperValue) },
  ]);
  const drawn = series.some(({ of, points }) => of === 'paper' && points.length > 0);
  const note = drawn ? `${look.note} Hollow: the paper.` : look.note;
  return { kind: 'paper', form: 'lines', series, ...look, note };
}
