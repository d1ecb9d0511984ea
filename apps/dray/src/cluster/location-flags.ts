/** Flags that backup locations and volume snapshot locations have in common. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { DrayError, messageOf } from "@drayage/base";
import type { Terminal } from "../terminal.ts";
import { parsePairs } from "./access.ts";

/** `--credential SECRET=KEY`, and other flags that name an entry of a Secret. Throws USAGE. */
export function parseCredential(text: string | undefined, flag = "--credential"): { readonly name: string; readonly key: string } | undefined {
  if (text === undefined) return undefined;
  const pairs = Object.entries(parsePairs([text], flag));
  const [pair] = pairs;
  if (pair === undefined || pairs.length > 1 || pair[1] === "") throw new DrayError("USAGE", `Cannot read ${flag} "${text}": SECRET=KEY is wanted`);
  return { name: pair[0], key: pair[1] };
}

/** `--access-mode`. Throws USAGE. */
export function parseAccessMode(text: string | undefined): "ReadOnly" | "ReadWrite" | undefined {
  if (text === undefined || text === "ReadOnly" || text === "ReadWrite") return text;
  throw new DrayError("USAGE", `Cannot read --access-mode "${text}": ReadOnly or ReadWrite is wanted`);
}

/** The base64 of a file with certificates. Throws PATH_NOT_FOUND, USAGE for a file that has none. */
export function readCaCert(path: string | undefined, terminal: Pick<Terminal, "cwd">): string | undefined {
  if (path === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(resolve(terminal.cwd, path), "utf8");
  } catch (error) {
    throw new DrayError("PATH_NOT_FOUND", `Cannot read --cacert "${path}": ${messageOf(error)}`, { cause: error });
  }
  if (!text.includes("-----BEGIN CERTIFICATE-----")) throw new DrayError("USAGE", `Cannot use --cacert "${path}": it holds no PEM certificate`);
  return Buffer.from(text).toString("base64");
}
