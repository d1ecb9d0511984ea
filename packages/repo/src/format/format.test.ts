import { fromBase64, isDrayError, toBase64, toHex, utf8 } from "@drayage/base";
import { memoryLogger, seededRandom, VirtualClock } from "@drayage/base/testing";
import { FaultyStorage, faultAt, MemoryStorage } from "@drayage/blob/testing";
import { describe, expect, it } from "vitest";
import { bytesOfHex, GOLDEN_PASSWORD, golden, goldenBlobs } from "../testing/golden.ts";
import { decodeBlobConfig, encodeBlobConfig, retentionOf } from "./blob-config.ts";
import {
  type BlockFormat,
  checkEpochParameters,
  checkSupported,
  DEFAULT_EPOCH_PARAMETERS,
  decodeBlockFormat,
  encodeBlockFormat,
  isLocked,
  newBlockFormat,
} from "./block-format.ts";
import { decodeFormatBlob, encodeFormatBlob, frameFormatBlob, unframeFormatBlob } from "./format-blob.ts";
import { formatGoTime, parseJsonObject } from "./go-json.ts";
import { deriveContentSecret, deriveFormatKey, deriveMaintenanceKey, hkdf, openAes, openWithFormatKey, sealWithFormatKey } from "./key-hierarchy.ts";
import { createRepositoryFormat, openRepositoryFormat } from "./repository-format.ts";
import { checkUdmRepository, readUdmRepository, writeUdmRepository } from "./udm-repository.ts";

const clock = new VirtualClock();
const corrupt = expect.objectContaining({ code: "REPO_CORRUPT" });
const nonceOf = (hex: string) => ({ bytes: () => bytesOfHex(hex).slice(), fraction: () => 0 });

async function storageWith(blobs: readonly (readonly [string, Uint8Array])[]): Promise<MemoryStorage> {
  const storage = new MemoryStorage(clock);
  for (const [id, bytes] of blobs) await storage.put(id, bytes);
  return storage;
}
/** PBKDF2 needs no 64 MiB; for tests that are not about the KDF. */
const fast = { password: "hunter2", clock, random: seededRandom(7), keyAlgorithm: "pbkdf2-sha256-600000" } as const;

describe("the key hierarchy", () => {
  it("derives what Kopia derives", async () => {
    for (const [algorithm, vector] of Object.entries(golden.formatBlob)) {
      const uniqueId = Uint8Array.from({ length: 32 }, (_, i) => i);
      const formatKey = await deriveFormatKey(vector.password, uniqueId, algorithm);
      expect(toHex(formatKey)).toBe(vector.FEK);
      const masterKey = Uint8Array.from({ length: 32 }, (_, i) => 0x40 + i);
      expect(toHex(deriveMaintenanceKey(masterKey, uniqueId))).toBe(vector.maintenanceKey);
      const maintenance = openAes(deriveMaintenanceKey(masterKey, uniqueId), utf8("maintenance"), bytesOfHex(vector["kopia.maintenance"]));
      expect(Buffer.from(maintenance ?? "").toString()).toBe(vector["kopia.maintenance plaintext"]);
    }
    expect(toHex(deriveContentSecret(utf8("01234567890123456789012345678901")))).toBe("88aac0fcc646ffc04813cc17f4c7a17f8a73b53e4add438898256a7c87ad45d2");
    expect(toHex(hkdf(utf8("ABCDEFGHIJKLMNOP"), utf8("0123456789012345"), "the-test-purpose", 32))).toBe(
      "828769ee8969bc37f11dbaa32838f8db6c19daa6e3ae5f5eed2da2d94d8faddb",
    );
  });

  it("refuses a salt that is too short and a KDF that nobody knows", () => {
    expect(() => deriveFormatKey("x", new Uint8Array(15), "scrypt-65536-8-1")).toThrow(corrupt);
    expect(() => deriveFormatKey("x", new Uint8Array(16), "argon2id")).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
  });
});

describe("kopia.repository", () => {
  it("is read and written byte by byte as Kopia does, the block format inside too", () => {
    for (const vector of Object.values(golden.formatBlob)) {
      const blob = decodeFormatBlob(utf8(vector["kopia.repository"]));
      expect(Buffer.from(encodeFormatBlob(blob)).toString()).toBe(vector["kopia.repository"]);
      const plaintext = openWithFormatKey(bytesOfHex(vector.FEK), blob.uniqueId, blob.encryptedBlockFormat) ?? new Uint8Array();
      expect(Buffer.from(plaintext).toString()).toBe(vector.inner);
      const block = decodeBlockFormat(plaintext);
      expect(Buffer.from(encodeBlockFormat(block)).toString()).toBe(vector.inner);
      expect(block).toMatchObject({
        hash: "BLAKE2B-256-128",
        version: 3,
        indexVersion: 2,
        epochParameters: DEFAULT_EPOCH_PARAMETERS,
        enablePasswordChange: true,
      });
      expect(toBase64(sealWithFormatKey(bytesOfHex(vector.FEK), blob.uniqueId, plaintext, nonceOf(vector.nonce)))).toBe(toBase64(blob.encryptedBlockFormat));
      const config = openWithFormatKey(bytesOfHex(vector.FEK), blob.uniqueId, bytesOfHex(vector["kopia.blobcfg (plaintext {})"])) ?? new Uint8Array();
      expect(decodeBlobConfig(config)).toEqual({ retention: undefined });
    }
    for (const repository of Object.values(golden.repositories.items)) {
      const block = decodeBlockFormat(utf8(repository.inner));
      expect(Buffer.from(encodeBlockFormat(block)).toString()).toBe(repository.inner);
    }
  });

  it("answers every prefix and every flipped byte with a typed error or a format", () => {
    const text = utf8(golden.formatBlob["scrypt-65536-8-1"]["kopia.repository"]);
    const inner = utf8(golden.formatBlob["scrypt-65536-8-1"].inner);
    for (const [bytes, decode] of [
      [text, decodeFormatBlob],
      [inner, decodeBlockFormat],
    ] as const) {
      for (let at = 0; at < bytes.length; at++) {
        // Without its newline the document is still whole.
        if (at < bytes.length - 1 || bytes === inner) expect(() => decode(bytes.subarray(0, at))).toThrow(corrupt);
        const damaged = bytes.slice();
        damaged[at] = (damaged[at] ?? 0) ^ 0x10;
        try {
          decode(damaged);
        } catch (error) {
          expect(isDrayError(error) && ["REPO_CORRUPT", "REPO_UNSUPPORTED"].includes(error.code)).toBe(true);
        }
      }
    }
    expect(() => decodeFormatBlob(new Uint8Array(2 << 20))).toThrow(corrupt);
    expect(() => decodeFormatBlob(utf8("[]"))).toThrow(/not a JSON object/);
    expect(() => decodeFormatBlob(utf8(`{"encryption":"ROT13"}`))).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
    expect(() => decodeFormatBlob(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(/not UTF-8/);
  });

  it("keeps members that it does not know", () => {
    const block = decodeBlockFormat(utf8(`{"format":{"hash":"X","later":{"a":1},"epochParameters":null}}`));
    expect(Buffer.from(encodeBlockFormat(block)).toString()).toContain(`"later":{"a":1}`);
    expect(block.maxPackBytes).toBe(20 << 20);
    expect(block.indexVersion).toBe(1);
  });

  it("is framed for packs and found there again", () => {
    const body = utf8("a format blob");
    const frame = frameFormatBlob(body);
    expect([frame[0], frame[1], frame.length]).toEqual([body.length + 32, 0, body.length + 36]);
    expect(unframeFormatBlob(Buffer.concat([frame, utf8("contents")]))).toEqual(Buffer.from(body));
    for (let at = 0; at < frame.length; at++) {
      const damaged = frame.slice();
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      expect(unframeFormatBlob(damaged)).toBeUndefined();
      expect(unframeFormatBlob(frame.subarray(0, at))).toBeUndefined();
    }
    expect(() => frameFormatBlob(new Uint8Array(65_000))).toThrow(expect.objectContaining({ code: "INVARIANT" }));
  });
});

describe("kopia.blobcfg", () => {
  it("keeps a period that no double holds", () => {
    const year = 365 * 86_400_000;
    const bytes = encodeBlobConfig({ retention: { mode: "COMPLIANCE", periodMs: year } });
    expect(Buffer.from(bytes).toString()).toBe(`{"retentionMode":"COMPLIANCE","retentionPeriod":31536000000000000}`);
    expect(decodeBlobConfig(bytes)).toEqual({ retention: { mode: "COMPLIANCE", periodMs: year } });
    expect(parseJsonObject(utf8(`{"n":9007199254740993}`), "x")["n"]).toBe(9_007_199_254_740_993n);
  });

  it("locks what is written for good, and nothing else", () => {
    const config = { retention: { mode: "GOVERNANCE", periodMs: 1000 } } as const;
    const locked = ["p1", "q1", "xn0_1", "n1", "kopia.repository", "kopia.blobcfg", "s1", "kopia.maintenance", "_log_1", "udmrepo.Repository"].filter(
      (id) => retentionOf(config, id, 5) !== undefined,
    );
    expect(locked).toEqual(["p1", "q1", "xn0_1", "n1", "kopia.repository", "kopia.blobcfg"]);
    expect(retentionOf(config, "p1", 5)).toEqual({ mode: "GOVERNANCE", untilMs: 1005 });
  });

  it("refuses half a setting", () => {
    expect(() => decodeBlobConfig(utf8(`{"retentionMode":"GOVERNANCE"}`))).toThrow(corrupt);
    expect(() => decodeBlobConfig(utf8(`{"retentionPeriod":5}`))).toThrow(corrupt);
    expect(() => decodeBlobConfig(utf8(`{"retentionPeriod":"long"}`))).toThrow(corrupt);
  });
});

describe("what a format asks for", () => {
  const supported: BlockFormat = newBlockFormat({}, seededRandom(1));
  const check = (changes: Partial<BlockFormat>, warnings: string[] = []) =>
    checkSupported({ ...supported, ...changes }, 0, (message) => warnings.push(message));
  const feature = (name: string, warn: boolean) => ({ feature: name, ifNotUnderstood: { warn, message: "upgrade please", url: "", upgradeToVersion: "" } });

  it.each([
    ["a version to come", { version: 4 }, /format version is 4/],
    ["no version", { version: 0 }, /format version is 0/],
    ["an index version to come", { indexVersion: 3 }, /index version is 3/],
    ["a hash nobody knows", { hash: "MD5" }, /hash "MD5"/],
    ["an encryption nobody knows", { encryption: "NONE" }, /encryption "NONE"/],
    ["a splitter nobody knows", { splitter: "RANDOM" }, /splitter "RANDOM"/],
    ["an error correction nobody knows", { ecc: "RAPTOR", eccOverheadPercent: 5 }, /error correction "RAPTOR"/],
    ["a feature nobody knows", { requiredFeatures: [feature("time-travel", false)] }, /"time-travel" \(upgrade please\)/],
  ] as const)("is refused by name: %s", (_what, changes, message) => {
    expect(() => check(changes)).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED", message: expect.stringMatching(message) }));
  });

  it("is taken when known, with a warning where a feature only wants one", () => {
    const warnings: string[] = [];
    check({ requiredFeatures: [feature("index-v2", false), feature("colours", true)], splitter: "" }, warnings);
    expect(warnings).toEqual([expect.stringContaining(`"colours"`)]);
    for (const version of [1, 2, 3]) check({ version });
  });

  it("is left alone while somebody upgrades it", () => {
    const minute = 60_000;
    const lock = {
      ownerId: "me",
      creationTimeMs: 0,
      advanceNoticeMs: 60 * minute,
      ioDrainTimeoutMs: 15 * minute,
      statusPollIntervalMs: minute,
      message: "",
      maxPermittedClockDriftMs: 5 * minute,
    };
    expect([isLocked(lock, 24 * minute), isLocked(lock, 25 * minute), isLocked({ ...lock, advanceNoticeMs: 0 }, 0)]).toEqual([false, true, true]);
    expect(() => check({ upgradeLock: { ...lock, advanceNoticeMs: 0 } })).toThrow(expect.objectContaining({ code: "REPO_LOCKED" }));
    const stored = encodeBlockFormat({ ...supported, upgradeLock: lock });
    expect(decodeBlockFormat(stored).upgradeLock).toEqual(lock);
  });

  it("names the rule that epoch parameters break", () => {
    checkEpochParameters(DEFAULT_EPOCH_PARAMETERS);
    expect(() => checkEpochParameters({ ...DEFAULT_EPOCH_PARAMETERS, minEpochDurationMs: 0 })).toThrow(/at least 10 minutes/);
    expect(() => checkEpochParameters({ ...DEFAULT_EPOCH_PARAMETERS, refreshFrequencyMs: 9 * 3_600_000 })).toThrow(/at most a third/);
    expect(() => newBlockFormat({ epochParameters: { advanceOnCount: 1 } }, seededRandom(1))).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(() => newBlockFormat({ maxPackBytes: 5 }, seededRandom(1))).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(() => newBlockFormat({ formatVersion: 4 }, seededRandom(1))).toThrow(expect.objectContaining({ code: "USAGE" }));
    for (const eccOverheadPercent of [-1, 1.5, 101]) {
      expect(() => newBlockFormat({ eccOverheadPercent }, seededRandom(1))).toThrow(expect.objectContaining({ code: "USAGE" }));
    }
    expect(() => newBlockFormat({ eccOverheadPercent: 5, formatVersion: 1 }, seededRandom(1))).toThrow(/version 1 has no error correction/);
    expect(() => newBlockFormat({ eccOverheadPercent: 5, ecc: "RAPTOR" }, seededRandom(1))).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
  });
});

describe("a repository's format", () => {
  it("of kopia opens with its password only", async () => {
    for (const name of ["tiny-v3", "tiny-v1", "tiny-ecc"] as const) {
      const repository = golden.repositories.items[name];
      const storage = await storageWith(goldenBlobs(repository));
      const format = await openRepositoryFormat(storage, { password: GOLDEN_PASSWORD, clock });
      expect(Buffer.from(encodeBlockFormat(format.block)).toString()).toBe(repository.inner);
      const maintenance = openAes(format.maintenanceKey, utf8("maintenance"), await storage.get("kopia.maintenance"));
      expect(Buffer.from(maintenance ?? "").toString()).toContain("nextFullMaintenance");
      await expect(openRepositoryFormat(storage, { password: "wrong", clock })).rejects.toMatchObject({ code: "REPO_WRONG_PASSWORD" });
    }
  });

  it("is created once, and only in an empty place", async () => {
    const storage = new MemoryStorage(clock);
    await expect(openRepositoryFormat(storage, { password: "x", clock })).rejects.toMatchObject({ code: "REPO_NOT_FOUND" });
    const created = await createRepositoryFormat(storage, fast);
    const opened = await openRepositoryFormat(storage, fast);
    expect(opened.block).toEqual(created.block);
    await expect(createRepositoryFormat(storage, fast)).rejects.toMatchObject({ code: "REPO_ALREADY_EXISTS" });
    const used = await storageWith([["something", utf8("else")]]);
    await expect(createRepositoryFormat(used, fast)).rejects.toThrow(/is not empty, it holds "something"/);
  });

  it("is that of one of two creators at once, and opens", async () => {
    const storage = new MemoryStorage(clock);
    const outcomes = await Promise.allSettled([1, 2].map((seed) => createRepositoryFormat(storage, { ...fast, random: seededRandom(seed) })));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const opened = await openRepositoryFormat(storage, fast);
    const [created] = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
    expect(opened.uniqueId).toEqual(created?.uniqueId);
  });

  it.each([undefined, { mode: "GOVERNANCE" as const, periodMs: 1_000 }])(
    "can be created again where its creator was killed at any call, with lock %j",
    async (retention) => {
      for (let k = 1; ; k++) {
        const storage = new FaultyStorage(new MemoryStorage(clock), faultAt(k, { kind: "appliedButTimedOut" }, true));
        const options = { ...fast, retention };
        const killed = await createRepositoryFormat(storage, options).then(
          () => false,
          () => true,
        );
        if (!killed) break;
        storage.plan = undefined;
        clock.jump(2_000);
        await createRepositoryFormat(storage, options).catch((error: unknown) => expect(error).toMatchObject({ code: "REPO_ALREADY_EXISTS" }));
        expect((await openRepositoryFormat(storage, fast)).config.retention).toEqual(retention);
      }
    },
  );

  it("opens under the new password only after a change, with the keys it had", async () => {
    const storage = new MemoryStorage(clock);
    const format = await createRepositoryFormat(storage, fast);
    await format.changePassword("correct");
    await expect(openRepositoryFormat(storage, fast)).rejects.toMatchObject({ code: "REPO_WRONG_PASSWORD" });
    const reopened = await openRepositoryFormat(storage, { ...fast, password: "correct" });
    expect(toBase64(reopened.block.masterKey)).toBe(toBase64(format.block.masterKey));
    const old = await createRepositoryFormat(new MemoryStorage(clock), { ...fast, blockFormat: { formatVersion: 1 } });
    await expect(old.changePassword("x")).rejects.toMatchObject({ code: "REPO_UNSUPPORTED" });
  });

  it("is read again after 15 minutes: an upgrade, a new feature and a changed password are noticed", async () => {
    const time = new VirtualClock();
    const storage = new MemoryStorage(time);
    const options = { ...fast, clock: time, logger: memoryLogger() };
    const writer = await createRepositoryFormat(storage, options);
    const reader = await openRepositoryFormat(storage, options);
    await writer.changePassword("changed");
    time.jump(14 * 60_000);
    await reader.refresh();
    expect(reader.isStale).toBe(false);
    time.jump(60_000);
    expect(reader.isStale).toBe(true);
    await expect(reader.refresh()).rejects.toMatchObject({ code: "REPO_WRONG_PASSWORD" });
    await writer.changePassword(fast.password);
    await reader.refresh();
    expect(reader.isStale).toBe(false);
  });

  it("says which blob a cut-off password change left behind", async () => {
    const storage = new MemoryStorage(clock);
    const format = await createRepositoryFormat(storage, fast);
    const old = await storage.get("kopia.repository");
    await format.changePassword("new");
    await storage.put("kopia.repository", old);
    await expect(openRepositoryFormat(storage, fast)).rejects.toThrow(/"kopia.blobcfg" does not decrypt/);
    await storage.delete("kopia.blobcfg");
    expect((await openRepositoryFormat(storage, fast)).config).toEqual({ retention: undefined });
  });
});

describe("udmrepo.Repository", () => {
  it("is there or not, and must name this repository", async () => {
    const storage = new MemoryStorage(clock);
    const id = utf8("0123456789abcdef");
    expect(await checkUdmRepository(storage, id)).toBe(false);
    await writeUdmRepository(storage, id);
    expect(Buffer.from(await storage.get("udmrepo.Repository")).toString()).toBe(`{"uniqueID":"${toBase64(id)}"}`);
    expect(await checkUdmRepository(storage, id)).toBe(true);
    await expect(checkUdmRepository(storage, utf8("another"))).rejects.toMatchObject({ code: "REPO_CORRUPT" });
    await storage.put("udmrepo.Repository", utf8("{"));
    await expect(readUdmRepository(storage)).rejects.toMatchObject({ code: "REPO_CORRUPT" });
    expect(fromBase64(toBase64(id))).toEqual(Buffer.from(id));
  });
});

it("times are printed as Go prints them", () => {
  expect([0, 1_700_000_000_000, 1_700_000_000_120].map(formatGoTime)).toEqual(["1970-01-01T00:00:00Z", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20.12Z"]);
});
