/**
 * Namespaces: each gets the service account `default` and the certificate authority of the server as soon as it is made; one that is deleted takes everything in it along and
 * goes when nothing is left.
 */
import { formatTime, type Logger, randomUuid } from "@drayage/base";
import { type ApiObject, clone, equal, type JsonObject, objectAt, textsAt } from "./json.ts";
import type { Operations } from "./operations.ts";
import { type Catalog, isDeleting, type ServedResource } from "./served-resource.ts";
import { isStatusError } from "./status-error.ts";
import type { World } from "./strategies/strategy.ts";
import { TurnQueue } from "./turn-queue.ts";

export class Namespaces {
  readonly #world: World;
  readonly #catalog: Catalog;
  readonly #operations: Operations;
  readonly #caPem: string;
  /** Namespaces whose contents are being removed; looked at again when something of theirs goes. */
  readonly #terminating: TurnQueue;

  constructor(world: World, catalog: Catalog, operations: Operations, caPem: string, logger: Logger) {
    this.#world = world;
    this.#catalog = catalog;
    this.#operations = operations;
    this.#caPem = caPem;
    this.#terminating = new TurnQueue({ work: (name) => this.#terminate(name), isStopped: () => world.storage.closed, logger });
    world.storage.subscribe((change) => {
      if (change.resource === "namespaces") {
        if (change.type !== "DELETED" && isDeleting(change.object)) this.#terminating.add(change.object.metadata.name ?? "");
        else if (change.type === "ADDED") this.ensureDefaults(change.object.metadata.name ?? "");
        return;
      }
      const namespace = change.object.metadata.namespace;
      if (namespace === undefined) return;
      const owner = world.storage.get("namespaces", namespace);
      if (owner === undefined) return;
      if (isDeleting(owner)) this.#terminating.add(namespace);
      else if (change.type === "DELETED" && (change.resource === "serviceaccounts" || change.resource === "configmaps")) this.ensureDefaults(namespace);
    });
    for (const namespace of world.storage.list("namespaces")) if (isDeleting(namespace)) this.#terminating.add(namespace.metadata.name ?? "");
  }

  /** Makes what every namespace has, where it is missing. */
  ensureDefaults(namespace: string): void {
    const make = (resource: string, object: JsonObject, name: string): void => {
      if (this.#world.storage.get(resource, `${namespace}/${name}`) !== undefined) return;
      const metadata = {
        name,
        namespace,
        uid: randomUuid(this.#world.random),
        creationTimestamp: formatTime(this.#world.clock.nowMs()),
        ...objectAt(object, "metadata"),
      };
      this.#world.storage.put(resource, { ...object, metadata } as ApiObject);
    };
    make("serviceaccounts", { kind: "ServiceAccount", apiVersion: "v1" }, "default");
    const annotations = {
      "kubernetes.io/description":
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
    };
    make("configmaps", { kind: "ConfigMap", apiVersion: "v1", metadata: { annotations }, data: { "ca.crt": this.#caPem } }, "kube-root-ca.crt");
  }

  #terminate(name: string): void {
    const namespace = this.#world.storage.get("namespaces", name);
    if (namespace === undefined || !isDeleting(namespace)) return;
    const remaining = new Map<string, number>();
    const finalizers = new Map<string, number>();
    for (const resource of this.#catalog.stored()) {
      if (!resource.namespaced) continue;
      for (const object of this.#world.storage.list(resource.storedAs, name)) {
        if (!this.#remove(resource, object)) {
          const label = `${resource.plural}.${resource.group}`;
          remaining.set(label, (remaining.get(label) ?? 0) + 1);
          for (const finalizer of object.metadata.finalizers ?? []) finalizers.set(finalizer, (finalizers.get(finalizer) ?? 0) + 1);
        }
      }
    }
    this.#report(name, remaining, finalizers);
    if (remaining.size === 0) this.#finish(name);
  }

  /** Deletes an object of a namespace that goes; true when it is gone. */
  #remove(resource: ServedResource, object: ApiObject): boolean {
    if (isDeleting(object)) return false;
    try {
      return this.#operations.delete(resource, object.metadata.namespace, object.metadata.name ?? "", { dryRun: false, propagationPolicy: "Background" })
        .removed;
    } catch (error) {
      if (isStatusError(error)) return error.code === 404;
      throw error;
    }
  }

  #report(name: string, remaining: ReadonlyMap<string, number>, finalizers: ReadonlyMap<string, number>): void {
    const current = this.#world.storage.get("namespaces", name);
    if (current === undefined) return;
    const describe = (counts: ReadonlyMap<string, number>): string => [...counts].map(([what, count]) => `${what} has ${count} resource instances`).join(", ");
    const held = [...finalizers].map(([what, count]) => `${what} in ${count} resource instances`).join(", ");
    const facts: readonly (readonly [string, boolean, string, string, string, string])[] = [
      ["NamespaceDeletionDiscoveryFailure", false, "", "ResourcesDiscovered", "", "All resources successfully discovered"],
      ["NamespaceDeletionGroupVersionParsingFailure", false, "", "ParsedGroupVersions", "", "All legacy kube types successfully parsed"],
      ["NamespaceDeletionContentFailure", false, "", "ContentDeleted", "", "All content successfully deleted, may be waiting on finalization"],
      [
        "NamespaceContentRemaining",
        remaining.size > 0,
        "SomeResourcesRemain",
        "ContentRemoved",
        `Some resources are remaining: ${describe(remaining)}`,
        "All content successfully removed",
      ],
      [
        "NamespaceFinalizersRemaining",
        finalizers.size > 0,
        "SomeFinalizersRemain",
        "ContentHasNoFinalizers",
        `Some content in the namespace has finalizers remaining: ${held}`,
        "All content-preserving finalizers finished",
      ],
    ];
    const conditions = clone(objectAt(current, "status")?.["conditions"] ?? []) as JsonObject[];
    for (const [type, isTrue, trueReason, falseReason, trueMessage, falseMessage] of facts) {
      const status = isTrue ? "True" : "False";
      const before = conditions.find((it) => it["type"] === type);
      const lastTransitionTime = before?.["status"] === status ? before["lastTransitionTime"] : formatTime(this.#world.clock.nowMs());
      const next = { type, status, lastTransitionTime, reason: isTrue ? trueReason : falseReason, message: isTrue ? trueMessage : falseMessage };
      if (before === undefined) conditions.push(next);
      else Object.assign(before, next);
    }
    const next = { ...current, status: { ...objectAt(current, "status"), phase: "Terminating", conditions } };
    if (!equal(next, current)) this.#world.storage.put("namespaces", next);
  }

  #finish(name: string): void {
    const current = this.#world.storage.get("namespaces", name);
    if (current === undefined) return;
    const finalizers = textsAt(current, "spec", "finalizers").filter((it) => it !== "kubernetes");
    if (finalizers.length === 0 && (current.metadata.finalizers ?? []).length === 0) this.#world.storage.remove("namespaces", name);
    else if (finalizers.length !== textsAt(current, "spec", "finalizers").length)
      this.#world.storage.put("namespaces", { ...current, spec: { ...objectAt(current, "spec"), finalizers } });
  }
}
