/** Why an operation on objects failed. What is not there is no failure. */

export type StoreFailure =
  /** No store of the cluster has room for it. */
  | 'noSpace'
  /** Larger than the cluster's largest object. */
  | 'tooLarge'
  /** Somebody else writes it, and does not come to an end. */
  | 'busy'
  /** A store that may have it cannot be reached. */
  | 'unreachable'
  | 'timeout'
  /** No store has bytes that are what its checksum says. */
  | 'checksum'
  | 'closed';

export class StoreError extends Error {
  override readonly name = 'StoreError';
  readonly failure: StoreFailure;

  constructor(failure: StoreFailure, what: string) {
    super(what);
    this.failure = failure;
  }
}
