import { createHash } from "node:crypto";
import { controllerReference, type KubeObject, type Pod, type PodTemplate, type ResourceType } from "@drayage/kube";

/** Kubernetes' alphabet for hashes in names. */
const ALPHABET = "bcdfghjklmnpqrstvwxz2456789";
const HASH_LENGTH = 10;

/** A short name for the content of a template: equal templates, whatever the order of their fields, have the same. */
export function templateHash(template: unknown): string {
  const digest = createHash("sha256").update(canonical(template)).digest();
  return Array.from(digest.subarray(0, HASH_LENGTH), (byte) => ALPHABET[byte % ALPHABET.length]).join("");
}

/** A pod of this template, owned by its controller. */
export function podFromTemplate<T extends KubeObject>(
  type: ResourceType<T>,
  owner: T,
  template: PodTemplate,
  metadata: { readonly name?: string; readonly generateName?: string; readonly labels?: Readonly<Record<string, string>> },
): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...(metadata.name === undefined ? {} : { name: metadata.name }),
      ...(metadata.generateName === undefined ? {} : { generateName: metadata.generateName }),
      ...(owner.metadata.namespace === undefined ? {} : { namespace: owner.metadata.namespace }),
      labels: { ...template.metadata?.labels, ...metadata.labels },
      annotations: { ...template.metadata?.annotations },
      ownerReferences: [controllerReference(type, owner)],
    },
    spec: structuredClone(template.spec),
  };
}

/** JSON with sorted keys. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, field]) => `${JSON.stringify(key)}:${canonical(field)}`).join(",")}}`;
}
