/** Reads Prometheus' exposition format strictly: what it would refuse throws. */

export interface Sample {
  readonly name: string;
  readonly family: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export class Scrape {
  readonly families = new Map<string, { type: string; help: string }>();
  readonly samples: Sample[] = [];

  /** The one sample with these labels, whatever others it has. Throws unless there is one. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number {
    const found = this.samples.filter(
      (sample) =>
        sample.name === name &&
        Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
    if (found.length !== 1) throw new Error(`found ${found.length} samples of ${name}`);
    return found[0].value;
  }
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?[\d.]+(?:e[+-]?\d+)?)$/;
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/;

export function parseScrape(text: string): Scrape {
  const scrape = new Scrape();
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const seen = new Set<string>();
  let family = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const head = /^# (HELP|TYPE) (\S+) (.*)$/.exec(line);
    if (head !== null) {
      const [, kind, name, rest] = head;
      if (!NAME.test(name)) throw new Error(`no name: ${line}`);
      if (kind === 'HELP') {
        if (scrape.families.has(name)) throw new Error(`${name} comes twice`);
        scrape.families.set(name, { type: 'untyped', help: rest });
        family = name;
      } else if (name !== family) throw new Error(`TYPE without HELP: ${line}`);
      else scrape.families.get(name)!.type = rest;
      continue;
    }
    const found = LINE.exec(line);
    if (found === null) throw new Error(`no sample: ${line}`);
    const [, name, inside = '', number] = found;
    if (name.replace(/_(bucket|sum|count)$/, '') !== family && name !== family) {
      throw new Error(`${name} stands below ${family}`);
    }
    const labels = labelsOf(inside);
    const series = `${name} ${JSON.stringify(labels)}`;
    if (seen.has(series)) throw new Error(`${series} comes twice`);
    seen.add(series);
    const value = number === '+Inf' ? Number.POSITIVE_INFINITY : Number(number);
    scrape.samples.push({ name, family, labels, value });
  }
  return scrape;
}

function labelsOf(inside: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (let rest = inside; rest !== ''; ) {
    const found = LABEL.exec(rest);
    if (found === null) throw new Error(`no label: ${rest}`);
    labels[found[1]] = found[2].replace(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(found[0].length);
  }
  return labels;
}
