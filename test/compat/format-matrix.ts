/**
 * What is tried against real kopia: repositories and files in them, chosen so that every two values of any two choices meet at least once.
 * The table is worked out from the lists alone, so that the tests and docs/formats/compatibility.md speak of the same.
 */
import { COMPRESSOR_NAMES, ENCRYPTIONS, HASHES, SPLITTERS } from "@drayage/kernels";

export interface RepositoryChoices {
  readonly creator: "kopia" | "dray";
  readonly hash: string;
  readonly encryption: string;
  readonly formatVersion: number;
  readonly eccOverheadPercent: number;
}

export interface FileChoices {
  readonly splitter: string;
  readonly compressor: string;
}

export interface MatrixRow {
  readonly repository: RepositoryChoices;
  readonly files: readonly FileChoices[];
}

/** Overheads whose blocks differ in kind; every overhead is tried by itself elsewhere. */
const ECC_OVERHEADS: readonly number[] = [0, 5, 50];

type Choice = readonly [axis: string, value: string | number];

/** Every pair of values that a row brings together. */
export function pairsOf({ repository, files }: MatrixRow): string[] {
  const common = choicesOf(repository);
  return [...meetings(common), ...files.flatMap((file) => fileMeetings(common, file))];
}

/** All pairs that have to be met: those that can be. Format version 1 has no error correction. */
export function wantedPairs(): ReadonlySet<string> {
  const files = fileCandidates();
  const repositories = repositoryCandidates().map(choicesOf);
  const values = new Map(repositories.flat().map((choice) => [choice.join(" "), choice]));
  return new Set([...repositories.flatMap(meetings), ...files.flatMap((file) => fileMeetings([...values.values()], file))]);
}

/** A set of rows that meets every pair, found greedily: always the same. */
export function formatMatrix(): readonly MatrixRow[] {
  const open = new Set(wantedPairs());
  const take = (pairs: readonly string[]): void => {
    for (const pair of pairs) open.delete(pair);
  };
  const gain = (pairs: readonly string[]): number => pairs.reduce((sum, pair) => sum + (open.has(pair) ? 1 : 0), 0);

  const rows: { readonly repository: RepositoryChoices; readonly files: FileChoices[] }[] = [];
  const repositories = repositoryCandidates().map((repository) => ({ repository, pairs: meetings(choicesOf(repository)) }));
  for (;;) {
    const best = mostOf(repositories, ({ pairs }) => gain(pairs));
    if (best === undefined) break;
    take(best.pairs);
    rows.push({ repository: best.repository, files: [] });
  }
  const files = fileCandidates();
  while (open.size > 0) {
    for (const { repository, files: chosen } of rows) {
      const common = choicesOf(repository);
      const best = mostOf(files, (file) => gain(fileMeetings(common, file)));
      if (best === undefined) continue;
      chosen.push(best);
      take(fileMeetings(common, best));
    }
  }
  return rows;
}

/** The first of those with the most; undefined where all have none. */
function mostOf<T>(candidates: readonly T[], count: (candidate: T) => number): T | undefined {
  let best: T | undefined;
  let most = 0;
  for (const candidate of candidates) {
    const counted = count(candidate);
    if (counted <= most) continue;
    best = candidate;
    most = counted;
  }
  return best;
}

function repositoryCandidates(): RepositoryChoices[] {
  return (["kopia", "dray"] as const).flatMap((creator) =>
    HASHES.flatMap((hash) =>
      ENCRYPTIONS.flatMap((encryption) =>
        [3, 2, 1].flatMap((formatVersion) =>
          ECC_OVERHEADS.filter((overhead) => overhead === 0 || formatVersion > 1).map((eccOverheadPercent) => ({
            ...{ creator, hash, encryption, formatVersion, eccOverheadPercent },
          })),
        ),
      ),
    ),
  );
}

function fileCandidates(): FileChoices[] {
  return SPLITTERS.flatMap((splitter) => ["none", ...COMPRESSOR_NAMES].map((compressor) => ({ splitter, compressor })));
}

function choicesOf(choices: RepositoryChoices | FileChoices): Choice[] {
  return Object.entries(choices) as Choice[];
}

function meetings(choices: readonly Choice[]): string[] {
  return choices.flatMap((choice, i) => choices.slice(i + 1).map((other) => meeting(choice, other)));
}

/** What a file in a repository of these choices adds. */
function fileMeetings(repository: readonly Choice[], { splitter, compressor }: FileChoices): string[] {
  const [cut, compressed]: [Choice, Choice] = [
    ["splitter", splitter],
    ["compressor", compressor],
  ];
  return [meeting(cut, compressed), ...repository.flatMap((choice) => [meeting(choice, cut), meeting(choice, compressed)])];
}

function meeting([axis, value]: Choice, [other, otherValue]: Choice): string {
  return `${axis} ${value} · ${other} ${otherValue}`;
}
