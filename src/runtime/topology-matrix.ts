/**
 * Which rails serve which memory, in the form of Mooncake's transfer engine: for each place,
 * `cpu:<NUMA domain>` or `cuda:<GPU>`, the rails to prefer and the others that also reach it:
 * `{"cpu:0": [["mlx5_0", "mlx5_1"], ["mlx5_2"]], "cuda:0": [["mlx5_0"], ["mlx5_1", "mlx5_2"]]}`.
 * Source: Mooncake, transfer-engine documentation, "Topology aware path selection".
 */
import { InputError } from '../core/errors.ts';
import { oneOf } from '../core/kit/nearest.ts';
import { busDistance, type Device, type Gpu, type Hardware } from './hardware.ts';

export type Location = `cpu:${number}` | `cuda:${number}`;
export type RailChoice = readonly [preferred: readonly string[], others: readonly string[]];
export type TopologyMatrix = Readonly<Record<Location, RailChoice>>;

/** A rail's name and where it sits. */
export interface PlacedRail extends Device {
  readonly name: string;
}

/**
 * Memory prefers the rails of its NUMA domain; a GPU those nearest on the PCI tree, and if none
 * shares a root complex with it, those of its NUMA domain. All where nothing is known.
 */
export function buildMatrix(hardware: Hardware, rails: readonly PlacedRail[]): TopologyMatrix {
  const matrix: Record<Location, RailChoice> = {};
  for (const numa of hardware.numaDomains) {
    matrix[`cpu:${numa}`] = split(rails, nearNuma(rails, numa));
  }
  for (const gpu of hardware.gpus) matrix[`cuda:${gpu.index}`] = split(rails, nearGpu(rails, gpu));
  return matrix;
}

function nearNuma(rails: readonly PlacedRail[], numa: number | null): PlacedRail[] {
  return rails.filter((rail) => rail.numa === null || rail.numa === numa);
}

function nearGpu(rails: readonly PlacedRail[], gpu: Gpu): PlacedRail[] {
  const distances = rails.map((rail) => busDistance(rail, gpu) ?? Number.POSITIVE_INFINITY);
  const least = Math.min(...distances);
  if (least === Number.POSITIVE_INFINITY) return nearNuma(rails, gpu.numa);
  return rails.filter((_, i) => distances[i] === least);
}

function split(rails: readonly PlacedRail[], near: readonly PlacedRail[]): RailChoice {
  const preferred = near.length > 0 ? near : rails;
  const others = rails.filter((rail) => !preferred.includes(rail));
  return [preferred.map(({ name }) => name), others.map(({ name }) => name)];
}

/**
 * A user's matrix. `rails` are the names that exist; `place` says where the text came from.
 * Throws InputError with the key, what was found and what was expected.
 */
export function parseMatrix(json: string, rails: readonly string[], place: string): TopologyMatrix {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new InputError(`no JSON: ${(error as Error).message}`, place);
  }
  if (!isRecord(value)) throw new InputError('expected an object of locations', place);
  const matrix: Record<Location, RailChoice> = {};
  for (const [location, choice] of Object.entries(value)) {
    if (!/^(?:cpu|cuda):\d+$/.test(location)) {
      throw new InputError(`found location '${location}', expected cpu:N or cuda:N`, place);
    }
    matrix[location as Location] = parseChoice(choice, rails, `${place}: ${location}`);
  }
  if (Object.keys(matrix).length === 0) throw new InputError('names no location', place);
  return matrix;
}

function parseChoice(value: unknown, rails: readonly string[], place: string): RailChoice {
  const lists = Array.isArray(value) && value.length === 2 && value.every(isNames) ? value : null;
  if (lists === null) throw new InputError('expected [[preferred rails], [other rails]]', place);
  const [preferred, others] = lists as [string[], string[]];
  const seen = new Set<string>();
  for (const name of [...preferred, ...others]) {
    if (!rails.includes(name)) {
      throw new InputError(`found rail '${name}', expected ${oneOf(name, rails)}`, place);
    }
    if (seen.has(name)) throw new InputError(`names rail '${name}' twice`, place);
    seen.add(name);
  }
  if (seen.size === 0) throw new InputError('names no rail', place);
  return preferred.length > 0 ? [preferred, others] : [others, []];
}

/** Rails for memory at a location; the first location's where the matrix does not know it. */
export function railsFor(matrix: TopologyMatrix, location: Location): RailChoice {
  return matrix[location] ?? Object.values(matrix)[0];
}

function isNames(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((name) => typeof name === 'string');
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
