/**
 * Brings a repository of format version 1 or 2 to version 3, as `kopia repository upgrade` leaves it (kopia-format.md 2.5).
 *
 *   keep the old format ─► lock ─► wait until everybody has noticed ─► index into an epoch ─► compare ─► poison for old clients ─► unlock
 *
 * The lock is in `kopia.repository`. A client that is not its owner refuses to work while it holds, and reads the format again every 15 minutes, so that after the waiting time nobody else
 * writes. Each step can be repeated: who is killed goes on where the stored format says, under the same owner. Until it is unlocked an upgrade can be taken back.
 *
 * `enablePasswordChange` stays as it was: packs of version 1 hold copies of the format under the old password.
 */
import {
  type Clock,
  DrayError,
  equalBytes,
  forEachLimit,
  type Logger,
  nullLogger,
  type RandomSource,
  randomHex,
  systemClock,
  systemRandom,
  utf8,
} from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { createKernels } from "@drayage/kernels";
import { type ContentCodec, createContentCodec, invariantReadBack } from "../content/content-codec.ts";
import { EPOCH_PREFIX } from "../epoch/epoch-names.ts";
import { DEFAULT_EPOCH_PARAMETERS, FORMAT_VERSION_MAX, type UpgradeLock } from "../format/block-format.ts";
import { FORMAT_BLOB_ID } from "../format/format-blob.ts";
import type { DeriveFormatKey } from "../format/key-hierarchy.ts";
import { openRepositoryFormat, type RepositoryFormat } from "../format/repository-format.ts";
import { decodeIndex, encodeIndex, shardEntries } from "../index-blobs/index-codec.ts";
import { LegacyIndexBlobs, POISON_BLOB_ID } from "../index-blobs/legacy-index-blobs.ts";
import { mergeEntries } from "../index-blobs/merged-index.ts";
import type { IndexEntry, PackIndex } from "../index-blobs/pack-index.ts";

export interface UpgradeOptions {
  readonly password: string;
  /** Who upgrades; another one cannot go on with what this one began. */
  readonly ownerId: string;
  /** How long a call to the storage may be under way. Everybody is given twice that and `CLOCK_DRIFT_MS`. @default 15 minutes, as Kopia */
  readonly ioDrainTimeoutMs?: number;
  /** `none` does not wait: only while nobody else uses the repository. @default "full" */
  readonly safety?: "full" | "none";
  readonly clock?: Clock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  readonly deriveKey?: DeriveFormatKey;
  /** Told while it waits. */
  readonly onWait?: (remainingMs: number) => void;
  readonly signal?: AbortSignal;
}

export interface UpgradePlan {
  readonly fromVersion: number;
  readonly toVersion: number;
  /** Empty where there is nothing to do. */
  readonly steps: readonly string[];
}

const DEFAULT_IO_DRAIN_MS = 15 * 60_000;
const CLOCK_DRIFT_MS = 5 * 60_000;
const POLL_MS = 60_000;
const INDEX_FETCHES_AT_ONCE = 5;
const POISON = "This repository was upgraded; a newer version of the program is needed to read it.";

/** What an upgrade would do. Throws as opening does; REPO_LOCKED when somebody else is upgrading. */
export async function planUpgrade(storage: BlobStorage, options: UpgradeOptions): Promise<UpgradePlan> {
  return planOf(await open(storage, options), options);
}

/** Upgrades, or goes on with an upgrade that the same owner began. */
export async function upgradeRepository(storage: BlobStorage, options: UpgradeOptions): Promise<UpgradePlan> {
  const format = await open(storage, options);
  const plan = planOf(format, options);
  if (plan.steps.length === 0) return plan;
  const { signal } = options;
  if (format.block.upgradeLock === undefined) await lock(storage, format, options);
  await drained(format.block.upgradeLock, options);
  if (!format.block.epochParameters.enabled) {
    const codec = await createContentCodec(format.block, await createKernels({ random: options.random ?? systemRandom, logger: options.logger ?? nullLogger }));
    await moveIndex(storage, format, codec, options);
    await format.rewrite({ ...format.block, indexVersion: 2, epochParameters: DEFAULT_EPOCH_PARAMETERS }, signal);
  }
  await storage.put(POISON_BLOB_ID, utf8(POISON), format.putOptionsOf(POISON_BLOB_ID, signal));
  await format.rewrite({ ...format.block, upgradeLock: undefined }, signal);
  return plan;
}

/** Takes back an upgrade that was not finished. Throws USAGE when none is under way. */
export async function rollBackUpgrade(storage: BlobStorage, options: UpgradeOptions): Promise<void> {
  const { signal } = options;
  const format = await open(storage, options);
  if (format.block.upgradeLock === undefined) throw new DrayError("USAGE", `Cannot take back an upgrade of ${storage.description}: none is under way`);
  const backupId = backupName(options.ownerId);
  const backup = await storage.get(backupId, signal === undefined ? {} : { signal });
  // The index in the epoch says what the old one says; a version-1 client does not look at it, and it must not be there when epochs begin anew.
  for await (const { id } of storage.list(`${EPOCH_PREFIX.uncompacted}0_`, signal))
    if (format.block.epochParameters.enabled || isMovedIndex(id)) await storage.delete(id, signal);
  await storage.delete(POISON_BLOB_ID, signal);
  await storage.put(FORMAT_BLOB_ID, backup, format.putOptionsOf(FORMAT_BLOB_ID, signal));
  await storage.delete(backupId, signal);
}

async function open(storage: BlobStorage, options: UpgradeOptions): Promise<RepositoryFormat> {
  const { password, ownerId, clock = systemClock, random = systemRandom, logger = nullLogger, deriveKey, signal } = options;
  return await openRepositoryFormat(
    storage,
    { password, upgradeOwner: ownerId, clock, random, logger, ...(deriveKey === undefined ? {} : { deriveKey }) },
    signal,
  );
}

function planOf({ block }: RepositoryFormat, { safety, ioDrainTimeoutMs = DEFAULT_IO_DRAIN_MS }: UpgradeOptions): UpgradePlan {
  const waitMinutes = Math.ceil((CLOCK_DRIFT_MS + 2 * ioDrainTimeoutMs) / 60_000);
  const isDone = block.version === FORMAT_VERSION_MAX && block.upgradeLock === undefined && block.epochParameters.enabled;
  const steps = [
    ...(block.upgradeLock === undefined ? ["keep the old format and lock the repository"] : ["go on with the upgrade that was begun"]),
    ...(safety === "none" ? [] : [`wait until every client has noticed, ${waitMinutes} minutes from the lock on`]),
    ...(block.epochParameters.enabled ? [] : ["write the index into an epoch and compare it"]),
    "keep old clients out, and unlock",
  ];
  return { fromVersion: block.version, toVersion: FORMAT_VERSION_MAX, steps: isDone ? [] : steps };
}

/** The old format is kept before the lock is there, so that whoever finds a lock can take it back. */
async function lock(storage: BlobStorage, format: RepositoryFormat, options: UpgradeOptions): Promise<void> {
  const { ownerId, signal, clock = systemClock } = options;
  const id = backupName(ownerId);
  await storage.put(id, format.formatBlobBytes, format.putOptionsOf(id, signal));
  const upgradeLock: UpgradeLock = {
    ownerId,
    creationTimeMs: clock.nowMs(),
    advanceNoticeMs: 0,
    ioDrainTimeoutMs: options.ioDrainTimeoutMs ?? DEFAULT_IO_DRAIN_MS,
    statusPollIntervalMs: POLL_MS,
    message: `Upgrading from format version ${format.block.version} to ${FORMAT_VERSION_MAX}`,
    maxPermittedClockDriftMs: CLOCK_DRIFT_MS,
  };
  await format.rewrite({ ...format.block, version: FORMAT_VERSION_MAX, upgradeLock }, signal);
}

/** Waits by the time that is stored with the lock, so that a restart does not begin anew. */
async function drained(upgradeLock: UpgradeLock | undefined, options: UpgradeOptions): Promise<void> {
  const { clock = systemClock, signal } = options;
  if (upgradeLock === undefined || options.safety === "none") return;
  const drainMs = upgradeLock.maxPermittedClockDriftMs + 2 * upgradeLock.ioDrainTimeoutMs;
  const untilMs = upgradeLock.creationTimeMs + Math.max(upgradeLock.advanceNoticeMs, drainMs);
  for (let remainingMs = untilMs - clock.nowMs(); remainingMs > 0; remainingMs = untilMs - clock.nowMs()) {
    options.onWait?.(remainingMs);
    await clock.sleep(Math.min(remainingMs, POLL_MS), signal);
  }
}

/** Writes what all active index blobs say as index of epoch 0, in the same version as before, and compares. */
async function moveIndex(storage: BlobStorage, format: RepositoryFormat, codec: ContentCodec, options: UpgradeOptions): Promise<void> {
  const { signal, random = systemRandom } = options;
  const { blobs } = await new LegacyIndexBlobs(storage, format, codec).active(signal);
  const parts: PackIndex[] = [];
  await forEachLimit(
    blobs,
    INDEX_FETCHES_AT_ONCE,
    async ({ id }) => {
      parts.push(decodeIndex(codec.openBlob(id, await storage.get(id, signal === undefined ? {} : { signal }))));
    },
    signal,
  );
  const entries: IndexEntry[] = [...mergeEntries(parts)].map((entry) => ({ ...entry, key: entry.key.slice() }));
  const shards = shardEntries(entries).map((shard) => encodeIndex(format.block.indexVersion, shard));
  const session = `s${randomHex(random, 8)}`;
  for (const plain of shards) {
    const sealed = codec.sealBlob("", plain, `${session}-c${shards.length}`);
    const id = `${EPOCH_PREFIX.uncompacted}0_${sealed.id}`;
    await storage.put(id, sealed.data, format.putOptionsOf(id, signal));
    const stored = await storage.get(id, signal === undefined ? {} : { signal });
    invariantReadBack(equalBytes(codec.openBlob(id, stored), plain), `index "${id}"`);
  }
}

/** An index that an upgrade wrote: its session has no period. */
function isMovedIndex(id: string): boolean {
  return /^xn0_[0-9a-f]+-s[0-9a-f]{16}-c\d+$/.test(id);
}

/** Owners are `user@host`; a name of a blob holds less. */
function backupName(ownerId: string): string {
  return `${FORMAT_BLOB_ID}.backup.${ownerId.replaceAll(/[^A-Za-z0-9._-]/g, "_")}`;
}
