/** What is measured, and what is wanted of it: the rows of the table of targets. Ratios are kopia's figure divided by ours. */

export interface Target {
  /** Wall time, and CPU (user + sys): kopia's at least so many times ours. */
  readonly wall?: number;
  readonly cpu?: number;
  /** Wall time in seconds, where there is nothing to compare with. */
  readonly seconds?: number;
  /** User CPU: ours at most this part of kopia's. */
  readonly userShare?: number;
  /** Peak memory of the process tree: at most so many MiB, or times kopia's. */
  readonly mib?: number;
  readonly memory?: number;
}

export interface DataSet {
  readonly kind: "large" | "small" | "db" | "many" | "sparse";
  readonly arguments: readonly string[];
}

export interface Work {
  readonly title: string;
  readonly data: DataSet;
  readonly repo: "fs" | "s3";
  /** As the harness names them, kopia's kind first, ours last. */
  readonly peers: readonly string[];
  readonly reps: number;
  /** Repository and restores lie on tmpfs: the system time of writing to a disk differs fourfold from run to run. */
  readonly onTmpfs?: boolean;
  /** Phases that are shown, in order, and what is wanted of each. */
  readonly targets: Readonly<Record<string, Target>>;
}

/** What the harness does not know: our program with other settings. */
export const OUR_VARIANTS = {
  "dray-zstd": { inherit: "dray", backup: ["{bin}", "snapshot", "create", "--compression", "zstd-fastest", "{src}"] },
  "dray-portable": { inherit: "dray", env: { DRAY_KERNELS: "portable" } },
} as const;

const BACKUP_MEMORY = { mib: 352, memory: 1.6 };

export function works(quick: boolean): readonly Work[] {
  const reps = quick ? 1 : 3;
  const peers = quick ? ["kopia", "dray"] : ["kopia", "restic", "dray"];
  const large: DataSet = { kind: "large", arguments: ["--scale", quick ? "0.125" : "1"] };
  const small: DataSet = { kind: "small", arguments: ["--scale", quick ? "0.1" : "1"] };
  const main: readonly Work[] = [
    {
      ...{ title: "large files, local repository", data: large, repo: "fs", peers, reps },
      targets: { backup: { userShare: 0.4, cpu: 1.6, wall: 1.7, ...BACKUP_MEMORY }, rescan: {}, incremental: {}, restore: { userShare: 1 / 2, memory: 1 } },
    },
    {
      ...{ title: "many small files, local repository", data: small, repo: "fs", peers, reps },
      targets: {
        backup: { cpu: 1.7, wall: 1.7, ...BACKUP_MEMORY },
        rescan: { cpu: 1.5, wall: 1.5 },
        incremental: { cpu: 1.5, wall: 1.5 },
        restore: { userShare: 1 / 3, memory: 1 },
      },
    },
  ];
  if (quick) return main;
  const against = ["kopia", "dray"];
  const once = 1;
  return [
    ...main,
    {
      ...{ title: "large files, repository and restores on tmpfs", data: large, repo: "fs", peers, reps, onTmpfs: true },
      targets: { backup: { wall: 2 }, restore: { cpu: 2, wall: 2 } },
    },
    {
      ...{ title: "many small files, repository and restores on tmpfs", data: small, repo: "fs", peers, reps: once, onTmpfs: true },
      targets: { backup: { cpu: 1.7 }, restore: { cpu: 3, wall: 3 } },
    },
    {
      ...{ title: "large files, zstd-fastest", data: large, repo: "fs", peers: ["kopia-zstd", "dray-zstd"], reps },
      targets: { backup: { wall: 1.7 } },
    },
    {
      ...{ title: "large files, without the addon", data: large, repo: "fs", peers: ["kopia", "dray-portable"], reps },
      targets: { backup: { cpu: 1.1, wall: 1.1 } },
    },
    {
      ...{ title: "one database file, 1 % of its pages changed", data: { kind: "db", arguments: [] }, repo: "fs", peers, reps },
      targets: { backup: {}, incremental: { cpu: 2, wall: 2 } },
    },
    {
      ...{ title: "large files, S3 on loopback", data: large, repo: "s3", peers: against, reps: once },
      targets: { backup: { cpu: 1.7, wall: 1.2 }, restore: { cpu: 1.7, wall: 1.2 } },
    },
    {
      // Restored into memory: creating files takes ext4 without a journal up to ten times as long where as many were deleted within the last minutes (results.md).
      ...{ title: "many small files, S3 on loopback, restores on tmpfs", data: small, repo: "s3", peers, reps: once, onTmpfs: true },
      targets: { backup: { cpu: 1.7, wall: 1.2 }, rescan: { cpu: 1.5, wall: 1.2 }, restore: { wall: 7 } },
    },
    {
      ...{ title: "1,000,000 empty files in 1000 directories", data: { kind: "many", arguments: [] }, repo: "fs", peers: against, reps: once },
      targets: { backup: {}, rescan: { cpu: 1.5, wall: 1.5 } },
    },
    {
      ...{ title: "500,000 tiny files", repo: "fs", peers: against, reps: once },
      data: { kind: "many", arguments: ["--files", "500000", "--dirs", "1000", "--unique"] },
      targets: { backup: { mib: 300 } },
    },
    {
      ...{ title: "500,000 files in one directory", repo: "fs", peers: against, reps: once },
      data: { kind: "many", arguments: ["--files", "500000", "--dirs", "1"] },
      targets: { rescan: { mib: 250, cpu: 1.5, wall: 1.5 } },
    },
    {
      ...{ title: "sparse file of 10 GiB with two extents", data: { kind: "sparse", arguments: [] }, repo: "fs", peers: against, reps: once },
      targets: { backup: { seconds: 1 }, restore: { seconds: 1 } },
    },
  ];
}
