/**
 * Creating, changing and deleting objects: the rules that hold for every resource. Each operation runs in one turn from reading the current object to storing the
 * next one, so nothing comes in between.
 */
import { formatTime, randomSuffix, randomUuid } from "@drayage/base";
import { fromStored, toStored } from "./conversion.ts";
import { type ApiObject, clone, equal, isObject, type JsonObject, type Meta, objectAt, textsAt } from "./json.ts";
import { type ManagerEdit, trackManagers } from "./managed-fields.ts";
import { validateFinalizerDomains, validateMetadata } from "./names.ts";
import { type FieldValidation, readObject } from "./object-reader.ts";
import { apiVersionOf, isDeleting, kindName, resourceName, type ServedResource } from "./served-resource.ts";
import {
  alreadyExists,
  badRequest,
  conflict,
  type FieldError,
  fieldForbidden,
  forbidden,
  invalid,
  invalidObject,
  isStatusError,
  modified,
  notFound,
  StatusError,
} from "./status-error.ts";
import type { World } from "./strategies/strategy.ts";

export interface WriteOptions {
  readonly dryRun: boolean;
  /** Who writes, for managedFields. */
  readonly manager: string;
  readonly fieldValidation: FieldValidation;
  /** Collects what the answer's Warning headers say. */
  readonly warnings: string[];
  /** What an object that is created is called and known by, where that was settled before: by the trial that webhooks judged. */
  readonly identity?: { readonly name: string; readonly uid: string };
}

export interface DeleteOptions {
  readonly dryRun: boolean;
  readonly gracePeriodSeconds?: number | undefined;
  readonly propagationPolicy?: string | undefined;
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
}

/** How a change came about: decides who owns the changed fields. */
export interface UpdateKind {
  readonly subresource?: string | undefined;
  readonly apply?: Omit<ManagerEdit, "manager" | "apiVersion" | "time" | "subresource">;
  /** The change is the system's own, and no manager owns its fields. */
  readonly untracked?: boolean;
  /** PUT must carry the version it replaces where the resource insists; patches never do. */
  readonly isPatch?: boolean;
}

/** Who may be created by an update of a name that is not there. */
const CREATED_BY_UPDATE: ReadonlySet<string> = new Set([
  "coordination.k8s.io/leases",
  "endpoints",
  "events",
  "limitranges",
  "services",
  "rbac.authorization.k8s.io/roles",
  "rbac.authorization.k8s.io/rolebindings",
  "rbac.authorization.k8s.io/clusterroles",
  "rbac.authorization.k8s.io/clusterrolebindings",
]);
const DEFINITIONS = "apiextensions.k8s.io/customresourcedefinitions";
const GENERATE_ATTEMPTS_MAX = 8;
const GENERATED_PREFIX_MAX = 58;

export class Operations {
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  /** The object under a name as this version serves it; throws NotFound. */
  get(resource: ServedResource, namespace: string | undefined, name: string): ApiObject {
    const stored = this.#world.storage.get(resource.storedAs, keyFor(namespace, name));
    if (stored === undefined) throw notFound(resourceName(resource), name);
    return fromStored(resource, stored);
  }

  create(resource: ServedResource, namespace: string | undefined, body: JsonObject, options: WriteOptions): ApiObject {
    const object = readObject(resource, body, options);
    this.#matchNamespace(object, namespace);
    const { metadata } = object;
    this.#checkNamespace(resource, namespace, metadata.name ?? metadata.generateName ?? "");
    if (metadata.resourceVersion !== undefined && metadata.resourceVersion !== "" && metadata.resourceVersion !== "0")
      throw new StatusError(500, "", "resourceVersion should not be set on objects to be created");
    for (const field of ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion", "selfLink"])
      delete metadata[field];
    if (options.identity !== undefined) metadata.name = options.identity.name;
    this.#generateName(resource, metadata);
    resource.strategy.defaults?.(object, this.#world);
    // What is filled in from here on belongs to nobody.
    this.#track(resource, undefined, object, options, {});
    resource.strategy.admit?.(object, undefined, this.#world);
    metadata.uid = options.identity?.uid ?? randomUuid(this.#world.random);
    metadata.creationTimestamp = formatTime(this.#world.clock.nowMs());
    if (resource.strategy.generation === true) metadata.generation = 1;
    if (resource.custom !== undefined) for (const field of resource.strategy.statusFields ?? []) delete object[field];
    resource.strategy.prepareCreate?.(object, this.#world);
    this.#validate(resource, object, [...this.#metadataErrors(resource, object), ...(resource.strategy.validate?.(object, this.#world) ?? [])]);
    if (this.#world.storage.get(resource.storedAs, keyFor(namespace, metadata.name ?? "")) !== undefined)
      throw alreadyExists(resourceName(resource), metadata.name ?? "");
    return this.#store(resource, object, options.dryRun);
  }

  /**
   * Replaces an object by what `produce` makes of it. `produce` gets a copy it may change and returns the whole next object.
   * Throws NotFound, Conflict, Invalid; returns the current object unchanged when nothing differs.
   */
  update(
    resource: ServedResource,
    namespace: string | undefined,
    name: string,
    produce: (current: ApiObject) => JsonObject,
    options: WriteOptions,
    kind: UpdateKind = {},
  ): { readonly object: ApiObject; readonly created: boolean } {
    const stored = this.#world.storage.get(resource.storedAs, keyFor(namespace, name));
    if (stored === undefined) return { object: this.#createInstead(resource, namespace, name, produce, options, kind), created: true };
    const old = fromStored(resource, stored);
    const object = readProduced(resource, produce(clone(old)), options, kind);
    if (object.metadata.name === undefined || object.metadata.name === "") object.metadata.name = name;
    if (object.metadata.name !== name) throw badRequest(`the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`);
    this.#matchNamespace(object, namespace);
    this.#checkPreconditions(resource, object.metadata, old, kind);
    if (kind.subresource !== "finalize") resource.strategy.defaults?.(object, this.#world);
    this.#keepSystemFields(object, old);
    this.#track(resource, old, object, options, kind);
    this.#isolateStatus(resource, object, old, kind.subresource);
    if (kind.subresource === undefined) resource.strategy.prepareUpdate?.(object, old, this.#world);
    this.#validateChange(resource, object, old, kind.subresource);
    if (kind.subresource === undefined) resource.strategy.admit?.(object, old, this.#world);
    if (resource.strategy.generation === true && this.#wantedChanged(resource, object, old)) object.metadata.generation = (old.metadata.generation ?? 0) + 1;
    if (old.metadata.resourceVersion !== undefined) object.metadata.resourceVersion = old.metadata.resourceVersion;
    if (equal(object, old)) return { object: old, created: false };
    if (isDeleting(object) && this.#finished(object)) return { object: this.#remove(resource, object, options.dryRun), created: false };
    return { object: this.#store(resource, object, options.dryRun), created: false };
  }

  /** Deletes or begins to delete. `removed` is false while finalizers or a grace period hold the object. */
  delete(
    resource: ServedResource,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions,
  ): { readonly object: ApiObject; readonly removed: boolean } {
    const old = this.get(resource, namespace, name);
    const { uid, resourceVersion } = options;
    if (uid !== undefined && uid !== old.metadata.uid)
      throw conflict(
        kindName(resource),
        name,
        `the UID in the precondition (${uid}) does not match the UID in record (${old.metadata.uid}). The object might have been deleted and then recreated`,
      );
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion)
      throw conflict(
        kindName(resource),
        name,
        `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${old.metadata.resourceVersion}). The object might have been modified`,
      );
    const object = clone(old);
    setPropagation(object.metadata, options.propagationPolicy ?? (isDeleting(old) ? undefined : resource.strategy.defaultPropagation));
    const graceSeconds = resource.strategy.gracePeriodSeconds?.(old, options.gracePeriodSeconds) ?? 0;
    if (!isDeleting(old)) {
      object.metadata.deletionTimestamp = formatTime(this.#world.clock.nowMs() + graceSeconds * 1000);
      object.metadata.deletionGracePeriodSeconds = graceSeconds;
      if (object.metadata.generation !== undefined && resource.storedAs !== DEFINITIONS) object.metadata.generation++;
    } else if (graceSeconds < (old.metadata.deletionGracePeriodSeconds ?? 0)) {
      // A running deletion can be hurried, never slowed down.
      object.metadata.deletionTimestamp = formatTime(this.#world.clock.nowMs() + graceSeconds * 1000);
      object.metadata.deletionGracePeriodSeconds = graceSeconds;
    }
    markTerminating(resource, object, formatTime(this.#world.clock.nowMs()));
    // What goes at once is answered as it last was, unless its kind could have taken its time.
    const answered = isDeleting(old) || resource.strategy.gracePeriodSeconds !== undefined ? object : old;
    if (this.#finished(object)) {
      // Of a kind that could have taken its time, watchers are told that it goes before it is gone.
      if (resource.strategy.gracePeriodSeconds !== undefined && !equal(object, old)) this.#store(resource, clone(object), options.dryRun);
      return { object: this.#remove(resource, answered, options.dryRun), removed: true };
    }
    if (equal(object, old)) return { object: old, removed: false };
    return { object: this.#store(resource, object, options.dryRun), removed: false };
  }

  #createInstead(
    resource: ServedResource,
    namespace: string | undefined,
    name: string,
    produce: (current: ApiObject) => JsonObject,
    options: WriteOptions,
    kind: UpdateKind,
  ): ApiObject {
    const allowed = kind.apply !== undefined || (kind.isPatch !== true && kind.subresource === undefined && CREATED_BY_UPDATE.has(resource.storedAs));
    if (!allowed || kind.subresource !== undefined) throw notFound(resourceName(resource), name);
    const body = produce({ apiVersion: apiVersionOf(resource), kind: resource.kind, metadata: { name, ...(namespace === undefined ? {} : { namespace }) } });
    if (isObject(body["metadata"]) && body["metadata"]["uid"] !== undefined && kind.apply !== undefined)
      throw conflict(resourceName(resource), name, `Precondition failed: UID in precondition: ${String(body["metadata"]["uid"])}, UID in object meta: `);
    if (kind.apply === undefined) return this.create(resource, namespace, body, options);
    const warnings: string[] = [];
    // The object as applied, owned by its applier from the start.
    const created = this.create(resource, namespace, body, { ...options, dryRun: true, warnings });
    options.warnings.push(...warnings);
    delete created.metadata.resourceVersion;
    delete created.metadata.managedFields;
    this.#track(resource, undefined, created, options, kind);
    return this.#store(resource, created, options.dryRun);
  }

  #generateName(resource: ServedResource, metadata: Meta): void {
    if ((metadata.name ?? "") !== "" || (metadata.generateName ?? "") === "") return;
    const prefix = (metadata.generateName ?? "").slice(0, GENERATED_PREFIX_MAX);
    for (let attempt = 0; attempt < GENERATE_ATTEMPTS_MAX; attempt++) {
      metadata.name = prefix + randomSuffix(this.#world.random);
      if (this.#world.storage.get(resource.storedAs, keyFor(metadata.namespace, metadata.name)) === undefined) return;
    }
  }

  #matchNamespace(object: ApiObject, namespace: string | undefined): void {
    const own = object.metadata.namespace;
    if (namespace === undefined) {
      delete object.metadata.namespace;
      return;
    }
    if (own === undefined || own === "") object.metadata.namespace = namespace;
    else if (own !== namespace) throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  }

  /** Nothing is created in a namespace that is not there or on its way out. */
  #checkNamespace(resource: ServedResource, namespace: string | undefined, name: string): void {
    if (namespace === undefined) return;
    const found = this.#world.storage.get("namespaces", namespace);
    if (found === undefined) throw notFound({ group: "", name: "namespaces" }, namespace);
    if (!isDeleting(found) || resource.plural.endsWith("reviews")) return;
    const refusal = forbidden(resourceName(resource), name, `unable to create new content in namespace ${namespace} because it is being terminated`);
    throw new StatusError(refusal.code, "Forbidden", refusal.message, {
      ...refusal.status.details,
      causes: [{ reason: "NamespaceTerminating", message: `namespace ${namespace} is being terminated`, field: "metadata.namespace" }],
    });
  }

  #checkPreconditions(resource: ServedResource, metadata: Meta, old: ApiObject, kind: UpdateKind): void {
    const name = old.metadata.name ?? "";
    const { resourceVersion, uid } = metadata;
    if (uid !== undefined && uid !== "" && uid !== old.metadata.uid)
      throw kind.isPatch === true
        ? invalidObject(kindName(resource), name, [invalid("metadata.uid", uid, "field is immutable")])
        : conflict(resourceName(resource), name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`);
    if (resourceVersion === undefined || resourceVersion === "" || resourceVersion === "0") {
      if (resource.custom !== undefined && kind.isPatch !== true)
        throw invalidObject(resourceName(resource), name, [invalid("metadata.resourceVersion", 0, "must be specified for an update")]);
      return;
    }
    if (resourceVersion !== old.metadata.resourceVersion) throw modified(resourceName(resource), name);
  }

  #keepSystemFields(object: ApiObject, old: ApiObject): void {
    for (const field of ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "generateName", "selfLink"] as const) {
      if (old.metadata[field] === undefined) delete object.metadata[field];
      else (object.metadata as JsonObject)[field] = old.metadata[field];
    }
  }

  /** The status is written through its subresource only, and that writes nothing else. */
  #isolateStatus(resource: ServedResource, object: ApiObject, old: ApiObject, subresource: string | undefined): void {
    const statusFields = resource.strategy.statusFields ?? [];
    if (subresource === undefined || subresource === "finalize" || subresource === "scale") {
      for (const field of statusFields) restore(object, old, field);
      if (subresource === "finalize") for (const field of Object.keys(object)) if (field !== "spec" && field !== "metadata") restore(object, old, field);
      return;
    }
    if (subresource !== "status") return;
    for (const field of new Set([...Object.keys(object), ...Object.keys(old)]))
      if (!statusFields.includes(field) && field !== "metadata") restore(object, old, field);
    // Controllers of workloads and of custom resources change nothing but the status; kubelets and binders also label and annotate.
    if (resource.custom !== undefined || resource.group !== "") {
      const { resourceVersion, managedFields } = object.metadata;
      object.metadata = {
        ...old.metadata,
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
        ...(managedFields === undefined ? {} : { managedFields }),
      };
    }
  }

  #validateChange(resource: ServedResource, object: ApiObject, old: ApiObject, subresource: string | undefined): void {
    const { strategy } = resource;
    const errors = [...this.#metadataErrors(resource, object), ...newFinalizers(object, old)];
    if (subresource === "status") errors.push(...(strategy.validateStatus?.(object, old) ?? []));
    else if (subresource !== "finalize")
      errors.push(...(strategy.validateUpdate?.(object, old, this.#world) ?? strategy.validate?.(object, this.#world) ?? []));
    this.#validate(resource, object, errors);
  }

  #metadataErrors(resource: ServedResource, object: ApiObject): FieldError[] {
    const errors = validateMetadata(object, resource.strategy.names ?? "subdomain", resource.namespaced);
    // Definitions belong to another server, which is not as strict: its own finalizer on them has no domain.
    const strict = resource.custom === undefined && resource.group !== "apiextensions.k8s.io";
    return strict ? [...errors, ...validateFinalizerDomains(object)] : errors;
  }

  #validate(resource: ServedResource, object: ApiObject, errors: readonly FieldError[]): void {
    if (errors.length > 0) throw invalidObject(kindName(resource), object.metadata.name ?? "", errors);
  }

  #wantedChanged(resource: ServedResource, object: ApiObject, old: ApiObject): boolean {
    const wanted = (it: ApiObject): JsonObject => {
      const { metadata: _metadata, ...rest } = it as JsonObject;
      for (const field of resource.strategy.statusFields ?? []) delete rest[field];
      const { labelsCount, annotationsCount } = resource.strategy;
      return {
        ...rest,
        ...(labelsCount === true ? { labels: it.metadata.labels } : {}),
        ...(annotationsCount === true ? { annotations: it.metadata.annotations ?? {} } : {}),
      };
    };
    return !equal(wanted(object), wanted(old));
  }

  /** Whether nothing holds an object that is being deleted. */
  #finished(object: ApiObject): boolean {
    const { finalizers = [], deletionGracePeriodSeconds = 0 } = object.metadata;
    const namespaceFinalizers = object.kind === "Namespace" && object.apiVersion === "v1" ? textsAt(object, "spec", "finalizers") : [];
    return finalizers.length === 0 && deletionGracePeriodSeconds === 0 && namespaceFinalizers.length === 0;
  }

  #track(resource: ServedResource, old: ApiObject | undefined, object: ApiObject, options: WriteOptions, kind: UpdateKind): void {
    if (kind.untracked === true) {
      if (old?.metadata.managedFields !== undefined) object.metadata.managedFields = old.metadata.managedFields;
      return;
    }
    trackManagers(resource, old, object, {
      manager: options.manager,
      apiVersion: apiVersionOf(resource),
      // The real server keeps no time for changes through the scale.
      time: kind.subresource === "scale" ? "" : formatTime(this.#world.clock.nowMs()),
      subresource: kind.subresource,
      ...kind.apply,
    });
  }

  #store(resource: ServedResource, object: ApiObject, dryRun: boolean): ApiObject {
    if (dryRun) return object;
    return fromStored(resource, this.#world.storage.put(resource.storedAs, toStored(resource, object)));
  }

  #remove(resource: ServedResource, object: ApiObject, dryRun: boolean): ApiObject {
    if (dryRun) return object;
    const removed = this.#world.storage.remove(resource.storedAs, keyFor(object.metadata.namespace, object.metadata.name ?? ""));
    return {
      ...object,
      metadata: { ...object.metadata, ...(removed?.metadata.resourceVersion === undefined ? {} : { resourceVersion: removed.metadata.resourceVersion }) },
    };
  }
}

/** What an update makes, read as the resource. A patch that leads to an object that cannot be read is the patch's fault, not that of the request's form. */
function readProduced(resource: ServedResource, produced: JsonObject, options: WriteOptions, kind: UpdateKind): ApiObject {
  try {
    return readObject(resource, produced, options);
  } catch (error) {
    if (kind.isPatch !== true || !isStatusError(error) || error.code !== 400) throw error;
    const detail = error.message.replace(/^.* cannot be handled as an? \w+: /, "");
    throw invalidObject({ group: "", name: "" }, "", [invalid("patch", JSON.stringify(produced), detail)]);
  }
}

export function keyFor(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

function restore(object: ApiObject, old: ApiObject, field: string): void {
  if (old[field] === undefined) delete object[field];
  else object[field] = clone(old[field]);
}

const ORPHAN = "orphan";
const FOREGROUND = "foregroundDeletion";

/** What becomes of dependents is kept as a finalizer, which the garbage collector works off. */
function setPropagation(metadata: Meta, policy: string | undefined): void {
  if (policy === undefined) return;
  const others = (metadata.finalizers ?? []).filter((it) => it !== ORPHAN && it !== FOREGROUND);
  const own = policy === "Orphan" ? [ORPHAN] : policy === "Foreground" ? [FOREGROUND] : [];
  metadata.finalizers = [...others, ...own];
  if (metadata.finalizers.length === 0) delete metadata.finalizers;
}

/** Kinds whose deletion shows in more than the timestamp. */
function markTerminating(resource: ServedResource, object: ApiObject, now: string): void {
  if (resource.storedAs === "namespaces") object["status"] = { ...objectAt(object, "status"), phase: "Terminating" };
  if (resource.storedAs !== DEFINITIONS) return;
  const finalizer = "customresourcecleanup.apiextensions.k8s.io";
  const status = objectAt(object, "status") ?? {};
  const conditions = Array.isArray(status["conditions"]) ? status["conditions"] : [];
  if (conditions.some((it) => isObject(it) && it["type"] === "Terminating")) return;
  object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), finalizer])];
  delete object.metadata.deletionGracePeriodSeconds;
  const terminating = {
    type: "Terminating",
    status: "True",
    reason: "InstanceDeletionPending",
    message: "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    lastTransitionTime: now,
  };
  object["status"] = { ...status, conditions: [...conditions, terminating] };
}

function newFinalizers(object: ApiObject, old: ApiObject): FieldError[] {
  if (!isDeleting(old)) return [];
  const added = (object.metadata.finalizers ?? []).filter((it) => !(old.metadata.finalizers ?? []).includes(it));
  if (added.length === 0) return [];
  const list = added.map((it) => JSON.stringify(it)).join(", ");
  return [fieldForbidden("metadata.finalizers", `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`)];
}
