/**
 * The native data plane, as TypeScript sees it; the only file that imports the addon. The addon is
 * optional: `loadNative` says why it is missing, everything else of Moontide works without it.
 */
import { createRequire } from 'node:module';

/** What the addon exports. Numbers are plain doubles; bytes are borrowed for the call. */
export interface NativeAddon {
  /** Layout of everything that crosses the border; it must be `ABI`. */
  readonly abi: number;
  /** CRC-32C by SSE4.2 instructions, in place of tables. */
  readonly crcHardware: boolean;
  /** CRC-32C, a uint32, of `bytes` that follow bytes whose CRC is `crc` (0 at the start). */
  crc32c(bytes: Uint8Array, crc: number): number;
}

/** Version of the border that this file speaks. */
export const ABI = 1;

export interface NativeLoad {
  readonly addon: NativeAddon | null;
  /** Why `addon` is null, one line with the remedy. */
  readonly reason: string | null;
}

const PATH = '../../native/build/Release/moontide.node';

let loaded: NativeLoad | null = null;

/** The addon, or why it is not there. A broken addon throws: only absence is expected. */
export function loadNative(): NativeLoad {
  loaded ??= load();
  return loaded;
}

function load(): NativeLoad {
  let addon: NativeAddon;
  try {
    addon = createRequire(import.meta.url)(PATH) as NativeAddon;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    return { addon: null, reason: 'the native addon is not built: npm run build:native' };
  }
  if (addon.abi === ABI) return { addon, reason: null };
  const found = `the native addon has ABI ${addon.abi}, expected ${ABI}`;
  return { addon: null, reason: `${found}: npm run build:native` };
}
