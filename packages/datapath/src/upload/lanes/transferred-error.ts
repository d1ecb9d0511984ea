import { getSystemErrorName } from "node:util";
import { CODES, type Code, DrayError, isDrayError, messageOf } from "@drayage/base";
import type { TransferredError } from "./jobs.ts";

/** An error as data that another thread understands. */
export function packError(error: unknown): TransferredError {
  const { errno, code } = error as NodeJS.ErrnoException;
  if (isDrayError(error))
    return { message: error.message, code: error.code, context: error.context, isOurs: true, ...(error.hint === undefined ? {} : { hint: error.hint }) };
  return { message: messageOf(error), isOurs: false, ...(typeof code === "string" ? { code } : {}), ...(typeof errno === "number" ? { errno } : {}) };
}

/** The error again: ours with its code, one of the system with its errno. */
export function unpackError({ message, code, errno, hint, context, isOurs }: TransferredError): Error {
  if (isOurs && code !== undefined && code in CODES) {
    return new DrayError(code as Code, message, { ...(hint === undefined ? {} : { hint }), ...(context === undefined ? {} : { context }) });
  }
  return Object.assign(new Error(message), code === undefined ? {} : { code }, errno === undefined ? {} : { errno });
}

/** What node:fs throws for an error number. */
export function systemErrorOf(errno: number): Error {
  const code = getSystemErrorName(-errno);
  return Object.assign(new Error(code), { code, errno: -errno });
}
