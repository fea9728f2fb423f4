/** What the hosts of two nodes say to each other to move blocks between them. */

/** Where offered blocks are to go. */
export type OfferedTo =
  | {
      readonly kind: 'pages';
      readonly instance: number;
      readonly request: number;
      /** Places in the prompt. */
      readonly indices: readonly number[];
    }
  /** Slots of DRAM that were granted. */
  | {
      readonly kind: 'slots';
      readonly segment: number;
      readonly slots: readonly number[];
      readonly generations: readonly number[];
    }
  /** Of the peer that asked, with this number. */
  | { readonly kind: 'wanted'; readonly id: number };

/** What one node says to another: these slots of my pool are yours until you answer. */
export interface Offer {
  readonly id: number;
  readonly node: number;
  readonly to: OfferedTo;
  readonly blocks: readonly number[];
  readonly slots: readonly number[];
  readonly generations: readonly number[];
}

/** What one node says to another: offer me these slots of your SSD, which I have leased. */
export interface Wanted {
  readonly id: number;
  readonly node: number;
  readonly segment: number;
  readonly slots: readonly number[];
  readonly generations: readonly number[];
}

/** Between hosts; to the node itself without a link. */
export type NodeWord =
  | readonly ['offer', offer: Offer]
  /** So many leading blocks of the offer arrived. */
  | readonly ['taken', offer: number, done: number]
  | readonly ['wanted', wanted: Wanted];
