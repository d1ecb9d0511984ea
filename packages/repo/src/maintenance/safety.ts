/** How long maintenance waits before it takes anything away (kopia-format.md 8.5), so that whoever still uses it gets to say so. */
export interface MaintenanceSafety {
  /** Contents younger than this are not moved to other packs. */
  readonly rewriteMinAgeMs: number;
  /** Contents younger than this are kept though nothing refers to them. */
  readonly minContentAgeMs: number;
  /** Between two garbage collections, of which the second confirms the first. */
  readonly marginBetweenCollectionsMs: number;
  readonly requireTwoCollections: boolean;
  /** Deletions become final up to this long before the collection that found them. */
  readonly dropMarginMs: number;
  /** Packs younger than this are kept though no index names them. */
  readonly packDeleteMinAgeMs: number;
  /** A session counts as living for so long after its marker was renewed. */
  readonly sessionExpirationMs: number;
  /** Between moving contents and deleting the packs that they were in. */
  readonly rewriteToDeletionMs: number;
  /** Index blobs that were merged into others stay so long, and then the logs about them; in repositories without epochs. */
  readonly indexSettleMs: number;
}

const HOUR_MS = 3_600_000;

export const fullSafety: MaintenanceSafety = {
  rewriteMinAgeMs: 2 * HOUR_MS,
  minContentAgeMs: 24 * HOUR_MS,
  marginBetweenCollectionsMs: 4 * HOUR_MS,
  requireTwoCollections: true,
  dropMarginMs: HOUR_MS,
  packDeleteMinAgeMs: 24 * HOUR_MS,
  sessionExpirationMs: 96 * HOUR_MS,
  rewriteToDeletionMs: HOUR_MS,
  indexSettleMs: HOUR_MS,
};

/** For a repository that nobody else uses: everything at once. */
export const noSafety: MaintenanceSafety = {
  rewriteMinAgeMs: 0,
  minContentAgeMs: 0,
  marginBetweenCollectionsMs: 0,
  requireTwoCollections: false,
  dropMarginMs: 0,
  packDeleteMinAgeMs: 0,
  sessionExpirationMs: 0,
  rewriteToDeletionMs: 0,
  indexSettleMs: 0,
};
