/**
 * The recovery file: what must survive a lost cluster so that its backups can be read again. JSON, mode 0600, no store credentials.
 *
 *   { "schema": 1, "createdAt": "2026-01-01T00:00:00Z", "repositoryPassword": "…",
 *     "locations": [ { "name": "default", "provider": "aws", "bucket": "b", "prefix": "p", "config": { "region": "…" } } ] }
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { DrayError, messageOf, type RandomSource, randomHex } from "@drayage/base";

export interface RecoveryLocation {
  readonly name: string;
  readonly provider: string;
  readonly bucket: string;
  readonly prefix?: string;
  readonly config?: Readonly<Record<string, string>>;
}

export interface RecoveryFile {
  readonly schema: 1;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly repositoryPassword: string;
  readonly locations: readonly RecoveryLocation[];
}

/** A repository password nobody chose: 160 random bits in hex. */
export function generateRepositoryPassword(random: RandomSource): string {
  return randomHex(random, 20);
}

export function encodeRecoveryFile(file: RecoveryFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}

/** Throws VALIDATION_FAILED naming the file and the field that is wrong. The password never appears in a message. */
export function decodeRecoveryFile(text: string, path?: string): RecoveryFile {
  const fail = (what: string): never => {
    throw new DrayError("VALIDATION_FAILED", `Cannot read recovery file${path === undefined ? "" : ` "${path}"`}: ${what}`, {
      hint: "Use the file that dray install --recovery-file wrote, unchanged.",
    });
  };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return fail("it is not JSON");
  }
  if (typeof value !== "object" || value === null) return fail("it is not a JSON object");
  const { schema, createdAt, repositoryPassword, locations } = value as Record<string, unknown>;
  if (schema !== 1) return fail(`schema is ${schema === undefined ? "missing" : JSON.stringify(schema)}, only 1 is read here`);
  if (typeof createdAt !== "string") return fail("createdAt is missing");
  if (typeof repositoryPassword !== "string" || repositoryPassword === "") return fail("repositoryPassword is missing");
  if (!Array.isArray(locations)) return fail("locations is missing");
  return { schema, createdAt, repositoryPassword, locations: locations.map((location, index) => decodeLocation(location, index, fail)) };
}

function decodeLocation(value: unknown, index: number, fail: (what: string) => never): RecoveryLocation {
  const { name, provider, bucket, prefix, config } = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  if (typeof name !== "string" || typeof provider !== "string" || typeof bucket !== "string")
    return fail(`locations[${index}] needs name, provider and bucket`);
  const settings = typeof config === "object" && config !== null ? Object.entries(config) : [];
  if (settings.some(([, setting]) => typeof setting !== "string")) return fail(`locations[${index}].config holds something that is not text`);
  return {
    name,
    provider,
    bucket,
    ...(typeof prefix === "string" ? { prefix } : {}),
    ...(settings.length > 0 ? { config: Object.fromEntries(settings) as Record<string, string> } : {}),
  };
}

/** Reads and checks a recovery file. Throws PATH_NOT_FOUND or VALIDATION_FAILED. */
export function readRecoveryFile(path: string): RecoveryFile {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new DrayError("PATH_NOT_FOUND", `Cannot read recovery file "${path}": ${messageOf(error)}`, { cause: error });
  }
  return decodeRecoveryFile(text, path);
}

/** Writes a recovery file with mode 0600, whole or not at all. Throws PATH_IO. */
export function writeRecoveryFile(path: string, file: RecoveryFile): void {
  const temporary = `${path}.tmp`;
  try {
    rmSync(temporary, { force: true });
    // Exclusively: in a folder that others may write to, what lies there could be open elsewhere or lead somewhere else.
    writeFileSync(temporary, encodeRecoveryFile(file), { flag: "wx", mode: 0o600, flush: true });
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw new DrayError("PATH_IO", `Cannot write recovery file "${path}": ${messageOf(error)}`, {
      cause: error,
      hint: "Name a path in a folder that exists and can be written.",
    });
  }
}
