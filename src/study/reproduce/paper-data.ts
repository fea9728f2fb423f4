/**
 * The paper's own figures, as facts to measure against: Qin et al., "Mooncake", FAST'25, and the
 * earlier arXiv report (2407.00079) where a key says so. `origin`: text (printed) or plot
 * (digitised from the PDF's vector paths, good to about 1 % of the axis). A quantity is a path
 * inside a figure's object.
 */
import { InputError } from '../../core/errors.ts';

export type PaperData = Readonly<Record<string, unknown>>;

export const FAST25: PaperData = {
  source:
    "Qin et al., Mooncake, FAST'25; arXiv 2407.00079 where marked. 'text' printed, " +
    "'plot' digitised (about 1 % of axis).",
  model: {
    name: 'llama3-70b',
    layers: 80,
    hidden: 8192,
    kvHeads: 8,
    headDim: 128,
    bytesPerElement: 2,
    kvBytesPerToken: 327680,
  },
  node: {
    accelerators: 8,
    accelerator: 'A800-80GB',
    peakTflopsBf16: 312,
    hostToDeviceGBps: 128,
    nics: 4,
    nicGbps: 200,
  },
  table2: {
    origin: 'text',
    conversation: {
      requests: 12031,
      meanInput: 12035,
      meanOutput: 343,
      cacheRatio: 0.4,
    },
    toolagent: {
      requests: 23608,
      meanInput: 8596,
      meanOutput: 182,
      cacheRatio: 0.59,
    },
    synthetic: {
      requests: 3993,
      meanInput: 15325,
      meanOutput: 149,
      cacheRatio: 0.66,
    },
  },
  fig5MeanTtftSeconds: {
    origin: 'text',
    workload: 'conversation',
    nodes: 16,
    'global-cache-aware': 3.07,
    'local-cache-aware': 3.58,
    'load-balancing': 5.27,
    random: 19.65,
  },
  fig1EffectiveCapacityPercent: {
    origin: 'plot',
    workload: 'conversation',
    tbtMs: [100, 200, 300],
    mooncake: [96.6, 100, 100],
    vllm: [16.1, 38.8, 62.7],
    'vllm-prefix': [15.0, 34.3, 55.5],
    'vllm-chunked': [9.4, 28.8, 55.2],
    gainPercentText: [498, 157, 59],
    medianTbtMs: {
      mooncake: 74,
      vllm: 245,
    },
  },
  fig8MeanPrefillGpuSeconds: {
    origin: 'plot',
    conversation: {
      mooncake: 1.062,
      vllm: 1.661,
      'vllm-prefix': 1.523,
      'vllm-chunked': 2.021,
    },
  },
  fig9HitRateByCapacityTokens: {
    origin: 'plot',
    tokens: [
      10000.0, 100000.0, 1000000.0, 2000000.0, 4000000.0, 5000000.0, 8000000.0, 10000000.0,
      50000000.0, 100000000.0,
    ],
    conversation: [0.045, 0.073, 0.087, 0.12, 0.215, 0.247, 0.3, 0.326, 0.398, 0.401],
    at3MofMaxText: {
      conversation: 0.41,
    },
  },
  fig10LocalVsGlobal: {
    origin: 'plot',
    prefillNodes: 10,
    capacityTokensPerNode: 3000000,
    outputTokens: 1,
    conversation: {
      hitPercent: {
        local: 16.9,
        global: 37.5,
      },
      prefillGpuSeconds: {
        local: 1.379,
        global: 1.05,
      },
    },
    ratioText: {
      conversation: {
        hit: 2.22,
        gpuTime: 0.76,
      },
    },
  },
  fig11ReplicaCount: {
    origin: 'plot',
    workload: 'conversation',
    sampleSeconds: 30,
    final: {
      rank10: 8,
      rank100: 7,
    },
    peak: {
      rank1000: 6,
      rank10000: 3,
    },
  },
  fig12TransferSeconds: {
    origin: 'plot',
    concurrency: 64,
    granularityBytes: 131072,
    gigabytes: [1, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100],
    '4x200': {
      transferEngine: [
        0.014, 0.059, 0.114, 0.227, 0.34, 0.451, 0.554, 0.671, 0.774, 1.047, 0.993, 1.104,
      ],
      tcp: [0.071, 0.22, 0.272, 0.541, 0.807, 1.082, 1.339, 1.565, 1.857, 2.192, 2.333, 2.686],
    },
    '8x400': {
      transferEngine: [
        0.007, 0.027, 0.055, 0.103, 0.142, 0.211, 0.26, 0.287, 0.39, 0.369, 0.415, 0.459,
      ],
      tcp: [0.027, 0.129, 0.285, 0.496, 0.74, 0.966, 1.279, 1.569, 1.78, 1.988, 2.192, 2.471],
    },
    text: {
      gigabytes: 40,
      gbps: {
        '4x200': 87,
        '8x400': 190,
      },
      overTcp: {
        '4x200': 2.4,
        '8x400': 4.6,
      },
      overGloo: {
        '4x200': 7.5,
        '8x400': 16.2,
      },
    },
  },
  fig14LatencySeconds: {
    origin: 'plot',
    promptTokens: [8192, 16384, 32768, 65536, 131072],
    prefill0: [1.002, 2.055, 4.477, 10.585, 27.51],
    prefill95: [0.135, 0.226, 0.407, 0.881, 2.329],
    transfer: [0.03, 0.06, 0.125, 0.249, 0.494],
    load: [0.028, 0.055, 0.108, 0.213, 0.421],
    decode128: [3.394, 3.432, 3.521, 3.659, 3.94],
  },
  arxivTable1: {
    origin: 'text (arXiv)',
    note: 'shape only, see README',
    blocks: ['inf', 100000, 50000, 30000, 10000, 1000],
    lru: [0.51, 0.51, 0.5, 0.48, 0.4, 0.3],
    lfu: [0.51, 0.51, 0.49, 0.43, 0.35, 0.3],
    'length-aware': [0.51, 0.5, 0.48, 0.42, 0.35, 0.3],
  },
  arxivFig8MeanTtftSeconds: {
    origin: 'plot (arXiv)',
    cluster: '8P+8D',
    requests: 23000,
    global: 6.26,
    local: 14.36,
    'load-balancing': 60.41,
    random: 92.07,
  },
  arxivTable3Rejected: {
    origin: 'text (arXiv)',
    cluster: '8P+8D, 2x speed, 23,000 requests',
    baseline: 4183,
    early: 3771,
    predictive: 3589,
  },
  publishedTransfers: {
    origin: 'Mooncake repository documentation',
    'qwen3-235b-4x400': {
      tokens: [128, 1024, 4096, 8192, 16384, 32768],
      ms: [2.07, 3.96, 10.95, 20.31, 39.14, 76.78],
      GBps: [23.8, 99.5, 144.1, 155.3, 161.2, 164.3],
    },
    'qwen3-8b-8xroce': {
      tokens: [128, 1024, 4096, 8192, 16384, 32768],
      ms: [0.54, 1.5, 4.75, 8.84, 16.43, 31.65],
      GBps: [36.5, 95.2, 119.0, 127.6, 137.1, 142.3],
    },
  },
};

/**
 * The workload that a figure's numbers are of, where the object does not say. Those of the arXiv
 * report are of a trace of its own and stand beside any other's, for their shape.
 */
const WORKLOADS: Readonly<Record<string, string>> = {
  fig7EffectiveCapacityPercent: 'synthetic',
  fig13BandwidthSweep: 'synthetic',
  fig15PrefillDecodeSplit: 'synthetic',
};

/** `more` laid over `base`, object by object; arrays and values are replaced. */
export function mergePaperData(base: PaperData, more: PaperData): PaperData {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(more)) {
    const before = merged[key];
    merged[key] = isObject(before) && isObject(value) ? mergePaperData(before, value) : value;
  }
  return merged;
}

/** @throws InputError for text that is not a JSON object of figures */
export function parsePaperData(text: string, place: string): PaperData {
  let data: unknown;
  try {
    data = JSON.parse(text);
  } catch (error) {
    throw new InputError(`found no JSON (${(error as Error).message}), expected figures`, place);
  }
  if (isObject(data)) return data;
  throw new InputError('found no object, expected figures as in paper.json', place);
}

/** A figure's object; empty where the data has none. */
export function figureData(data: PaperData, figure: string): PaperData {
  const found = data[figure];
  return isObject(found) ? found : {};
}

/** What the paper says of a quantity under a workload; null where it says nothing. */
export function paperValue(
  data: PaperData,
  figure: string,
  workload: string,
  quantity: string,
): number | null {
  const object = figureData(data, figure);
  const of = object.workload ?? WORKLOADS[figure];
  if (of !== undefined && of !== workload) return null;
  let value: unknown = object;
  for (const key of quantity.split('.')) value = (value as PaperData | undefined)?.[key];
  return typeof value === 'number' ? value : null;
}

/** A list of numbers in a figure's object, or the one that stands in where there is none. */
export function paperList(figure: PaperData, key: string, otherwise: readonly number[]): number[] {
  const list = figure[key];
  const numbers = Array.isArray(list) && list.every((value) => typeof value === 'number');
  return [...(numbers ? list : otherwise)];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
