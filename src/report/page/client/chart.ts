/** One figure on the page: a Vega view that follows the range of time, its box and the pointer. */
import type { Spec, View } from 'vega';
import { expressionInterpreter } from 'vega-interpreter';
import type { PageData, Range } from '../data.ts';
import { rangeOf } from '../data.ts';
import type { Shown } from '../figures.ts';
import { heatMost, type Row, rowsOf, timeUnit } from '../rows.ts';
import { hideTip, say, showTip } from './tooltip.ts';

/** Inlined before this script. */
declare const vega: typeof import('vega');

export class Chart {
  readonly shown: Shown;
  private readonly page: PageData;
  private readonly box: HTMLElement;
  private readonly view: View;
  private readonly timed: boolean;

  /** `choose` is called with the bins that were brushed. */
  constructor(
    box: HTMLElement,
    shown: Shown,
    spec: Spec,
    page: PageData,
    choose: (range: Range) => void,
  ) {
    this.box = box;
    this.shown = shown;
    this.page = page;
    // Specifications are interpreted, not compiled: the page forbids eval.
    const options = { expr: expressionInterpreter, renderer: 'svg' as const, container: box };
    this.view = new vega.View(vega.parse(spec, undefined, { ast: true }), options);
    this.view.tooltip((_handler, event, _item, row: Row | null) => {
      if (row === null || row === undefined) hideTip();
      else showTip(event as PointerEvent, say(shown, page, row));
    });
    const { kind } = shown.figure;
    this.timed = kind === 'time' || kind === 'heat';
    if (this.timed) this.watchBrush(choose);
  }

  async show(range: Range): Promise<void> {
    const { view, page, shown } = this;
    view.width(this.box.clientWidth);
    view.data('rows', [...rowsOf(shown, page, range)]);
    if (this.timed && !isOverview(shown)) {
      const { from, to } = rangeOf(page, range);
      view.signal('shownTime', [from * this.binWidth, to * this.binWidth]);
    }
    const { figure } = shown;
    if (figure.kind === 'heat') view.signal('most', heatMost(figure, page, range));
    await view.runAsync();
    if (this.timed) await this.markRange(range);
  }

  private get binWidth(): number {
    return this.page.binNs / timeUnit(this.page).ns;
  }

  /** The overview keeps the brush; the others show its range alone. */
  private async markRange(range: Range): Promise<void> {
    const { view, shown, binWidth } = this;
    const scale = view.scale('x') as (time: number) => number;
    const marked = range !== null && isOverview(shown);
    const x = marked ? [scale(range.from * binWidth), scale(range.to * binWidth)] : [0, 0];
    const [from, to] = view.signal('brush_x') as [number?, number?];
    if ((from ?? 0) === x[0] && (to ?? 0) === x[1]) return;
    view.signal('brush_x', x);
    await view.runAsync();
  }

  /** A drag is over when the pointer is let go, wherever that happens. */
  private watchBrush(choose: (range: Range) => void): void {
    const { view, page, binWidth } = this;
    let dragging = false;
    this.box.addEventListener('pointerdown', () => {
      dragging = true;
    });
    window.addEventListener('pointerup', () => {
      if (!dragging) return;
      dragging = false;
      const { t } = view.signal('brush') as { t?: [number, number] };
      if (t === undefined) return;
      const from = Math.max(0, Math.floor(Math.min(...t) / binWidth));
      const to = Math.min(page.bins, Math.ceil(Math.max(...t) / binWidth));
      choose(to > from ? { from, to } : null);
    });
  }
}

function isOverview({ figure }: Shown): boolean {
  return figure.kind === 'time' && figure.overview === true;
}
