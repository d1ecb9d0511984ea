/** Changes an object as the rules of resource modifiers say. Objects go in and come out; what they were is never touched. */
import { DrayError, type Logger, messageOf } from "@drayage/base";
import { type GenericObject, type LabelSelector, matchesLabels } from "@drayage/kube";
import { builtInSchema, type JsonObject, mergePatch, strategicMergePatch } from "@drayage/kube/patch";
import jsonPatch, { type Operation } from "fast-json-patch";
import type { ModifierConditions, ModifierPatches, ModifierRule } from "./resource-modifiers.ts";

/** RFC 6902. */
export interface JsonPatchOperation {
  readonly op: "add" | "remove" | "replace" | "move" | "copy" | "test";
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** The object after every rule that fits it. A rule that cannot be applied is reported, and the others are applied all the same. */
export function modified(
  object: GenericObject,
  groupResource: string,
  rules: readonly ModifierRule[],
  { log, onError }: { readonly log: Logger; readonly onError: (message: string) => void },
): GenericObject {
  let current = object;
  for (const [index, { conditions, patches }] of rules.entries()) {
    try {
      if (!fits(object, groupResource, conditions)) continue;
      log.info(`Applying rule ${index} of the resource modifiers`);
      current = patched(current, patches, log);
    } catch (error) {
      onError(`could not apply rule ${index} of the resource modifiers to ${groupResource} "${object.metadata.name}": ${messageOf(error)}`);
    }
  }
  return current;
}

function fits(object: GenericObject, groupResource: string, { fitsResource, name, namespaces, labelSelector, matches }: ModifierConditions): boolean {
  const { namespace } = object.metadata;
  if (namespace !== undefined && namespaces.length > 0 && !namespaces.includes("*") && !namespaces.includes(namespace)) return false;
  if (!fitsResource(groupResource) || name?.test(object.metadata.name ?? "") === false) return false;
  if (labelSelector !== undefined && !matchesLabels(labelSelector as LabelSelector, object.metadata.labels)) return false;
  return matches.length === 0 || withOperations(object, matches) !== undefined;
}

function patched(object: GenericObject, patches: ModifierPatches, log: Logger): GenericObject {
  if (patches.kind === "json") {
    const result = withOperations(object, patches.operations);
    if (result === undefined) log.info("A test among the patches does not hold: the object is left as it is");
    return result ?? object;
  }
  const schema = patches.kind === "strategic" ? schemaOf(object) : undefined;
  let current = object as unknown as JsonObject;
  for (const patch of patches.patches) {
    current = (patches.kind === "merge" ? mergePatch(current, patch as JsonObject) : strategicMergePatch(current, patch as JsonObject, schema)) as JsonObject;
  }
  return current as unknown as GenericObject;
}

/** The patched copy; undefined when a test does not hold. Throws for a path that is not there. */
function withOperations(object: GenericObject, operations: readonly JsonPatchOperation[]): GenericObject | undefined {
  try {
    return jsonPatch.applyPatch(structuredClone(object), structuredClone(operations) as Operation[], true, true, true).newDocument as GenericObject;
  } catch (error) {
    const { name = "", operation } = error as { readonly name?: string; readonly operation?: JsonPatchOperation };
    if (name === "TEST_OPERATION_FAILED" || operation?.op === "test") return undefined;
    throw new DrayError("VALIDATION_FAILED", `${operation?.op ?? "a patch"} of "${operation?.path ?? ""}" cannot be applied: ${name}`);
  }
}

function schemaOf({ apiVersion = "", kind = "" }: GenericObject): NonNullable<ReturnType<typeof builtInSchema>> {
  const schema = builtInSchema(apiVersion, kind);
  if (schema !== undefined) return schema;
  throw new DrayError("VALIDATION_FAILED", `${apiVersion} ${kind} is not built into Kubernetes, and strategic patches are for what is; use mergePatches`);
}
