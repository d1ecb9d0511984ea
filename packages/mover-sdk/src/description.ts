/** Checks what a mover says of itself, before anybody relies on it. */
import { DrayError } from "@drayage/base";
import type { DataMover, MoverDescription } from "./data-mover.ts";
import { checkSchema } from "./parameters.ts";

/** A DNS label, so that it can name objects; also part of keys in the bucket. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** `secrets`, or `imagestreams.image.openshift.io`. */
const RESOURCE = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/;
const FLAGS = ["cancel", "progress", "block", "incremental"] as const;

/** Everything that is wrong with a description, each as a sentence that names the field; nothing: it is one. */
export function problemsOfDescription(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return ["it is not an object with name, version, capabilities and parameters"];
  const { name, version, description, capabilities, parameters, targets } = value as Partial<Record<keyof MoverDescription, unknown>>;
  const problems: string[] = [];
  const wanted = (ok: boolean, what: string): void => void (ok || problems.push(what));
  wanted(typeof name === "string" && NAME.test(name), `name is ${shown(name)}, where lower-case letters, digits and dashes are wanted, at most 63`);
  wanted(typeof version === "string" && /^\d+\.\d+\.\d+/.test(version), `version is ${shown(version)}, where one such as "1.0.0" is wanted`);
  wanted(typeof description === "string" && description.trim() !== "", "description is missing: one line for people is wanted");
  const found = (typeof capabilities === "object" && capabilities !== null ? capabilities : {}) as Readonly<Record<string, unknown>>;
  for (const flag of FLAGS) wanted(typeof found[flag] === "boolean", `capabilities.${flag} is ${shown(found[flag])}, where true or false is wanted`);
  const kinds = found["kinds"];
  wanted(Array.isArray(kinds) && kinds.length > 0, "capabilities.kinds is empty: the resources that it moves are wanted");
  for (const kind of Array.isArray(kinds) ? (kinds as unknown[]) : [])
    wanted(
      typeof kind === "string" && RESOURCE.test(kind),
      `capabilities.kinds has ${shown(kind)}, where a resource such as "persistentvolumeclaims" is wanted`,
    );
  wanted(Array.isArray(targets) && targets.length > 0, 'targets is empty: "BackupStorageLocation" is what every backup has');
  problems.push(...checkSchema(parameters));
  return problems;
}

/** The mover that a module exports. Throws VALIDATION_FAILED with everything that is wrong with it. */
export function moverOf(module: Readonly<Record<string, unknown>>, origin: string): DataMover {
  const mover = module["default"] as DataMover | undefined;
  const problems = mover === undefined ? ["it has no default export"] : problemsOfDescription(mover);
  for (const method of ["backup", "restore", "delete"] as const)
    if (mover !== undefined && typeof mover[method] !== "function") problems.push(`${method} is missing: a function is wanted`);
  if (mover === undefined || problems.length > 0) throw new DrayError("VALIDATION_FAILED", `Cannot use module "${origin}" as a mover: ${problems.join("; ")}`);
  return mover;
}

/** What is published of a mover, without its functions. */
export function describeMover({ name, version, description, capabilities, parameters, targets }: MoverDescription): MoverDescription {
  return { name, version, description, capabilities, parameters, targets };
}

function shown(value: unknown): string {
  return value === undefined ? "missing" : (JSON.stringify(value) ?? String(value)).slice(0, 80);
}
