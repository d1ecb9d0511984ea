/**
 * The block format: how a repository hashes, encrypts, splits, packs and indexes. Compact JSON `{"format":{…}}`, encrypted, inside `kopia.repository`
 * (kopia-format.md 2.2). Member order and which members are left out when zero are part of the format.
 */
import { DrayError, type RandomSource, toBase64, utf8 } from "@drayage/base";
import {
  DEFAULT_ENCRYPTION,
  DEFAULT_HASH,
  DEFAULT_SPLITTER,
  ECC_OVERHEAD_PERCENT_MAX,
  ENCRYPTIONS,
  ERROR_CORRECTIONS,
  HASHES,
  REED_SOLOMON,
  SPLITTERS,
} from "@drayage/kernels";
import { formatGoTime, type JsonObject, JsonReader, nanoseconds, parseJsonObject, stringifyGo } from "./go-json.ts";

const MIB = 1024 * 1024;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DOCUMENT = "the block format";

/** The newest format version, which new repositories get; versions 1 and 2 are read and written on. */
export const FORMAT_VERSION_MAX = 3;
export const INDEX_VERSION_MAX = 2;
export const DEFAULT_PACK_BYTES: number = 20 * MIB;
const PACK_BYTES_MIN = 10 * MIB;
const PACK_BYTES_MAX = 120 * MIB;

/** Features that this program understands when a repository requires them. */
export const KNOWN_FEATURES: readonly string[] = ["index-v1", "index-v2"];

export interface EpochParameters {
  readonly enabled: boolean;
  readonly refreshFrequencyMs: number;
  readonly fullCheckpointFrequency: number;
  readonly cleanupSafetyMarginMs: number;
  readonly minEpochDurationMs: number;
  readonly advanceOnCount: number;
  readonly advanceOnTotalBytes: number;
  readonly deleteParallelism: number;
}

export const DEFAULT_EPOCH_PARAMETERS: EpochParameters = {
  enabled: true,
  refreshFrequencyMs: 20 * MINUTE_MS,
  fullCheckpointFrequency: 7,
  cleanupSafetyMarginMs: 4 * HOUR_MS,
  minEpochDurationMs: 24 * HOUR_MS,
  advanceOnCount: 20,
  advanceOnTotalBytes: 10 * MIB,
  deleteParallelism: 4,
};

const NO_EPOCHS: EpochParameters = {
  enabled: false,
  refreshFrequencyMs: 0,
  fullCheckpointFrequency: 0,
  cleanupSafetyMarginMs: 0,
  minEpochDurationMs: 0,
  advanceOnCount: 0,
  advanceOnTotalBytes: 0,
  deleteParallelism: 0,
};

/** Somebody is upgrading the format; while it holds, nobody else may touch the storage. */
export interface UpgradeLock {
  readonly ownerId: string;
  readonly creationTimeMs: number;
  readonly advanceNoticeMs: number;
  readonly ioDrainTimeoutMs: number;
  readonly statusPollIntervalMs: number;
  readonly message: string;
  readonly maxPermittedClockDriftMs: number;
}

export interface RequiredFeature {
  readonly feature: string;
  readonly ifNotUnderstood: { readonly warn: boolean; readonly message: string; readonly url: string; readonly upgradeToVersion: string };
}

export interface BlockFormat {
  readonly hash: string;
  readonly encryption: string;
  /** Empty without error correction. */
  readonly ecc: string;
  /** 1 to 100; 0 without error correction, whatever `ecc` says. */
  readonly eccOverheadPercent: number;
  /** Key of the content hash. */
  readonly secret: Uint8Array;
  readonly masterKey: Uint8Array;
  readonly version: number;
  /** A pack is closed once it has this many bytes. */
  readonly maxPackBytes: number;
  readonly indexVersion: number;
  readonly epochParameters: EpochParameters;
  /** Where false, every pack carries a copy of `kopia.repository`, and the maintenance key hangs on the password. */
  readonly enablePasswordChange: boolean;
  readonly splitter: string;
  readonly upgradeLock: UpgradeLock | undefined;
  readonly requiredFeatures: readonly RequiredFeature[];
  /** Members that this program does not know, kept when the format is written again. */
  readonly unknown: JsonObject;
}

/** What a person may choose for a new repository, by Kopia's names. */
export interface BlockFormatChoices {
  readonly hash?: string;
  readonly encryption?: string;
  readonly splitter?: string;
  /** What error correction may take of the storage, in percent; 0: there is none. @default 0 */
  readonly eccOverheadPercent?: number;
  /** @default "REED-SOLOMON-CRC32", where there is any overhead for it */
  readonly ecc?: string;
  readonly formatVersion?: number;
  readonly maxPackBytes?: number;
  readonly epochParameters?: Partial<EpochParameters>;
}

/** A block format with fresh keys. Throws REPO_UNSUPPORTED for a name that is not known, USAGE for a number out of range. */
export function newBlockFormat(choices: BlockFormatChoices, random: RandomSource): BlockFormat {
  const version = choices.formatVersion ?? FORMAT_VERSION_MAX;
  if (!Number.isInteger(version) || version < 1 || version > FORMAT_VERSION_MAX) {
    throw new DrayError("USAGE", `Cannot create repository: format version is ${version}, 1 to ${FORMAT_VERSION_MAX} are known`);
  }
  const { eccOverheadPercent = 0 } = choices;
  const format: BlockFormat = {
    hash: choices.hash ?? DEFAULT_HASH,
    encryption: choices.encryption ?? DEFAULT_ENCRYPTION,
    ecc: eccOverheadPercent === 0 ? "" : (choices.ecc ?? REED_SOLOMON),
    eccOverheadPercent,
    secret: random.bytes(32),
    masterKey: random.bytes(32),
    version,
    maxPackBytes: choices.maxPackBytes ?? DEFAULT_PACK_BYTES,
    indexVersion: version === 1 ? 1 : 2,
    epochParameters: version === 1 ? NO_EPOCHS : { ...DEFAULT_EPOCH_PARAMETERS, ...choices.epochParameters },
    enablePasswordChange: version > 1,
    splitter: choices.splitter ?? DEFAULT_SPLITTER,
    upgradeLock: undefined,
    requiredFeatures: [],
    unknown: {},
  };
  checkNames(format);
  if (!Number.isInteger(eccOverheadPercent) || eccOverheadPercent < 0 || eccOverheadPercent > ECC_OVERHEAD_PERCENT_MAX) {
    throw new DrayError(
      "USAGE",
      `Cannot create repository: overhead of error correction is ${eccOverheadPercent} %, 0 to ${ECC_OVERHEAD_PERCENT_MAX} are allowed`,
    );
  }
  if (eccOverheadPercent > 0 && version === 1) {
    throw new DrayError("USAGE", "Cannot create repository: format version 1 has no error correction", {
      hint: "Choose version 2 or 3, or no error correction.",
    });
  }
  if (format.maxPackBytes < PACK_BYTES_MIN || format.maxPackBytes > PACK_BYTES_MAX) {
    throw new DrayError("USAGE", `Cannot create repository: pack size is ${format.maxPackBytes} bytes, ${PACK_BYTES_MIN} to ${PACK_BYTES_MAX} are allowed`);
  }
  if (format.epochParameters.enabled) checkEpochParameters(format.epochParameters);
  return format;
}

const KNOWN_MEMBERS: ReadonlySet<string> = new Set([
  ...["hash", "encryption", "ecc", "eccOverheadPercent", "secret", "masterKey", "version", "maxPackSize", "indexVersion"],
  ...["epochParameters", "enablePasswordChange", "splitter", "upgradeLock", "requiredFeatures"],
]);

/**
 * Decodes the plaintext of `encryptedBlockFormat`. Missing members count as zero, and zero as Kopia's default, except that no name is guessed.
 * Throws REPO_CORRUPT. Whether this program can work with the result is `checkSupported`'s question.
 */
export function decodeBlockFormat(plaintext: Uint8Array): BlockFormat {
  const outer = new JsonReader(parseJsonObject(plaintext, DOCUMENT), DOCUMENT);
  const json = outer.object("format");
  if (json === undefined) throw new DrayError("REPO_CORRUPT", `Cannot read ${DOCUMENT}: "format" is missing`);
  return {
    hash: json.text("hash"),
    encryption: json.text("encryption"),
    ecc: json.text("ecc"),
    eccOverheadPercent: json.count("eccOverheadPercent", 100),
    secret: json.bytes("secret"),
    masterKey: json.bytes("masterKey"),
    version: json.count("version"),
    maxPackBytes: json.count("maxPackSize") || DEFAULT_PACK_BYTES,
    indexVersion: json.count("indexVersion") || 1,
    epochParameters: decodeEpochParameters(json.object("epochParameters")),
    enablePasswordChange: json.flag("enablePasswordChange"),
    splitter: json.text("splitter"),
    upgradeLock: decodeUpgradeLock(json.object("upgradeLock")),
    requiredFeatures: json.list("requiredFeatures").map(decodeRequiredFeature),
    unknown: json.rest(KNOWN_MEMBERS),
  };
}

export function encodeBlockFormat(format: BlockFormat): Uint8Array {
  return utf8(
    stringifyGo({
      format: {
        hash: orAbsent(format.hash),
        encryption: orAbsent(format.encryption),
        ecc: orAbsent(format.ecc),
        eccOverheadPercent: orAbsent(format.eccOverheadPercent),
        secret: orAbsent(toBase64(format.secret)),
        masterKey: orAbsent(toBase64(format.masterKey)),
        version: orAbsent(format.version),
        maxPackSize: orAbsent(format.maxPackBytes),
        indexVersion: orAbsent(format.indexVersion),
        epochParameters: encodeEpochParameters(format.epochParameters),
        enablePasswordChange: format.enablePasswordChange,
        splitter: orAbsent(format.splitter),
        upgradeLock: format.upgradeLock === undefined ? undefined : encodeUpgradeLock(format.upgradeLock),
        requiredFeatures: format.requiredFeatures.length === 0 ? undefined : format.requiredFeatures,
        ...format.unknown,
      },
    }),
  );
}

/**
 * Throws REPO_UNSUPPORTED, by name, for a version, a required feature or an algorithm that this program does not know, and REPO_LOCKED while somebody
 * else upgrades the format. Features that are only worth a warning are handed to `warn`.
 */
export function checkSupported(format: BlockFormat, nowMs: number, warn: (message: string) => void, upgradeOwner?: string): void {
  const refuse = (what: string, hint?: string): DrayError =>
    new DrayError("REPO_UNSUPPORTED", `Cannot open repository: ${what}`, hint === undefined ? {} : { hint });
  if (format.version < 1 || format.version > FORMAT_VERSION_MAX) throw refuse(`format version is ${format.version}, 1 to ${FORMAT_VERSION_MAX} are supported`);
  if (format.indexVersion > INDEX_VERSION_MAX) throw refuse(`index version is ${format.indexVersion}, 1 to ${INDEX_VERSION_MAX} are supported`);
  if (format.secret.length === 0 || format.masterKey.length === 0) throw new DrayError("REPO_CORRUPT", "Cannot open repository: its keys are missing");
  for (const { feature, ifNotUnderstood } of format.requiredFeatures) {
    if (KNOWN_FEATURES.includes(feature)) continue;
    const text = `it requires feature "${feature}"${ifNotUnderstood.message === "" ? "" : ` (${ifNotUnderstood.message})`}, which this version does not know`;
    if (!ifNotUnderstood.warn) throw refuse(text, ifNotUnderstood.url === "" ? undefined : `See ${ifNotUnderstood.url}.`);
    warn(text);
  }
  checkNames(format);
  const lock = format.upgradeLock;
  if (lock !== undefined && lock.ownerId !== upgradeOwner && (upgradeOwner !== undefined || isLocked(lock, nowMs))) {
    throw new DrayError("REPO_LOCKED", `Cannot open repository: "${lock.ownerId}" is upgrading its format`, {
      hint: lock.message === "" ? "Try again when the upgrade is done." : lock.message,
    });
  }
}

/** Whether a client that is not the owner must stay away (kopia-format.md 2.5). */
export function isLocked(lock: UpgradeLock, nowMs: number): boolean {
  const drainMs = lock.maxPermittedClockDriftMs + 2 * lock.ioDrainTimeoutMs;
  return lock.advanceNoticeMs < drainMs || nowMs >= lock.creationTimeMs + lock.advanceNoticeMs - drainMs;
}

function checkNames(format: BlockFormat): void {
  const known: readonly (readonly [what: string, name: string, names: readonly string[]])[] = [
    ["hash", format.hash, HASHES],
    ["encryption", format.encryption, ENCRYPTIONS],
    ["error correction", format.eccOverheadPercent === 0 ? "" : format.ecc, ["", ...ERROR_CORRECTIONS]],
    ["splitter", format.splitter === "" ? "FIXED" : format.splitter, SPLITTERS],
  ];
  for (const [what, name, names] of known) {
    if (!names.includes(name)) {
      throw new DrayError("REPO_UNSUPPORTED", `Cannot use repository: ${what} "${name}" is not known`, {
        hint: `Known: ${names.filter((known) => known !== "").join(", ")}.`,
      });
    }
  }
}

/** Throws USAGE for parameters under which the epoch protocol would not hold. */
export function checkEpochParameters(parameters: EpochParameters): void {
  const rules: readonly (readonly [holds: boolean, rule: string])[] = [
    [parameters.minEpochDurationMs >= 10 * MINUTE_MS, "an epoch lasts at least 10 minutes"],
    [3 * parameters.refreshFrequencyMs <= parameters.minEpochDurationMs, "the refresh frequency is at most a third of the least epoch duration"],
    [parameters.fullCheckpointFrequency > 0, "the full checkpoint frequency is more than 0"],
    [parameters.cleanupSafetyMarginMs >= 3 * parameters.refreshFrequencyMs, "the cleanup margin is at least three refresh frequencies"],
    [parameters.advanceOnCount >= 10, "an epoch has at least 10 index blobs"],
    [parameters.advanceOnTotalBytes >= MIB, "an epoch has at least 1 MiB of index blobs"],
  ];
  for (const [holds, rule] of rules) if (!holds) throw new DrayError("USAGE", `Cannot set epoch parameters: ${rule}`);
}

function decodeEpochParameters(json: JsonReader | undefined): EpochParameters {
  if (json === undefined) return NO_EPOCHS;
  return {
    enabled: json.flag("Enabled"),
    refreshFrequencyMs: json.durationMs("EpochRefreshFrequency"),
    fullCheckpointFrequency: json.count("FullCheckpointFrequency"),
    cleanupSafetyMarginMs: json.durationMs("CleanupSafetyMargin"),
    minEpochDurationMs: json.durationMs("MinEpochDuration"),
    advanceOnCount: json.count("EpochAdvanceOnCountThreshold"),
    advanceOnTotalBytes: json.count("EpochAdvanceOnTotalSizeBytesThreshold"),
    deleteParallelism: json.count("DeleteParallelism"),
  };
}

function encodeEpochParameters(parameters: EpochParameters): JsonObject {
  return {
    Enabled: parameters.enabled,
    EpochRefreshFrequency: nanoseconds(parameters.refreshFrequencyMs),
    FullCheckpointFrequency: parameters.fullCheckpointFrequency,
    CleanupSafetyMargin: nanoseconds(parameters.cleanupSafetyMarginMs),
    MinEpochDuration: nanoseconds(parameters.minEpochDurationMs),
    EpochAdvanceOnCountThreshold: parameters.advanceOnCount,
    EpochAdvanceOnTotalSizeBytesThreshold: parameters.advanceOnTotalBytes,
    DeleteParallelism: parameters.deleteParallelism,
  };
}

function decodeUpgradeLock(json: JsonReader | undefined): UpgradeLock | undefined {
  if (json === undefined) return undefined;
  return {
    ownerId: json.text("ownerID"),
    creationTimeMs: json.timeMs("creationTime"),
    advanceNoticeMs: json.durationMs("advanceNoticeDuration"),
    ioDrainTimeoutMs: json.durationMs("ioDrainTimeout"),
    statusPollIntervalMs: json.durationMs("statusPollInterval"),
    message: json.text("message"),
    maxPermittedClockDriftMs: json.durationMs("maxPermittedClockDrift"),
  };
}

function encodeUpgradeLock(lock: UpgradeLock): JsonObject {
  return {
    ownerID: lock.ownerId,
    creationTime: formatGoTime(lock.creationTimeMs),
    advanceNoticeDuration: orAbsent(nanoseconds(lock.advanceNoticeMs)),
    ioDrainTimeout: nanoseconds(lock.ioDrainTimeoutMs),
    statusPollInterval: nanoseconds(lock.statusPollIntervalMs),
    message: lock.message,
    maxPermittedClockDrift: nanoseconds(lock.maxPermittedClockDriftMs),
  };
}

function decodeRequiredFeature(json: JsonReader): RequiredFeature {
  const otherwise = json.object("ifNotUnderstood");
  return {
    feature: json.text("feature"),
    ifNotUnderstood: {
      warn: otherwise?.flag("warn") ?? false,
      message: otherwise?.text("message") ?? "",
      url: otherwise?.text("url") ?? "",
      upgradeToVersion: otherwise?.text("upgradeToVersion") ?? "",
    },
  };
}

function orAbsent<T extends string | number>(value: T): T | undefined {
  return value === "" || value === 0 ? undefined : value;
}
