import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import type { ObjectMeta } from "./meta.ts";

/** A CustomResourceDefinition as it is installed. */
export interface CrdManifest {
  apiVersion: "apiextensions.k8s.io/v1";
  kind: "CustomResourceDefinition";
  metadata: ObjectMeta;
  spec: { group: string; names: { kind: string; plural: string }; [field: string]: unknown };
}

const folder = new URL("../crds/", import.meta.url);

/**
 * The CustomResourceDefinitions of these API groups (`velero.io`, `oadp.openshift.io`, `datamover.oadp.openshift.io`, `volsync.backube`, `snapshot.storage.k8s.io`, `groupsnapshot.storage.k8s.io`, `cbt.storage.k8s.io`), in byte order of their names.
 * Their structure is that of the release named in docs/formats/crds.md; a peer test compares it with what the real program installs.
 */
export function loadCrds(...groups: readonly string[]): CrdManifest[] {
  return readdirSync(fileURLToPath(folder))
    .sort()
    .filter((file) => groups.some((group) => file.startsWith(`${group}_`)))
    .map((file) => parse(readFileSync(new URL(file, folder), "utf8")) as CrdManifest);
}
