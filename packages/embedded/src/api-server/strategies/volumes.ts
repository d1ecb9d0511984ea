/** Claims, volumes and the storage.k8s.io kinds. */
import { type ApiObject, clone, ensureObject, equal, type JsonObject, objectAt, objectsAt, setDefault, textAt, textsAt } from "../json.ts";
import { compareQuantities } from "../quantity.ts";
import { type FieldError, fieldForbidden, forbidden, invalid, notSupported, required } from "../status-error.ts";
import type { Strategy, World } from "./strategy.ts";

const ACCESS_MODES = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class";

export function defaultClaimSpec(spec: JsonObject): void {
  setDefault(spec, "volumeMode", "Filesystem");
}

/** The older and the newer field of a claim's source say the same, unless the newer one names another namespace. */
function joinDataSources(spec: JsonObject): void {
  const source = objectAt(spec, "dataSource");
  const reference = objectAt(spec, "dataSourceRef");
  if (source !== undefined && reference === undefined) spec["dataSourceRef"] = clone(source);
  else if (reference !== undefined && source === undefined && textAt(reference, "namespace") === "") spec["dataSource"] = clone(reference);
}

function defaultStorageClass(claim: ApiObject, world: World): void {
  const spec = ensureObject(claim, "spec");
  if (spec["storageClassName"] !== undefined || claim.metadata.annotations?.["volume.beta.kubernetes.io/storage-class"] !== undefined) return;
  const classes = world.storage
    .list("storage.k8s.io/storageclasses")
    .filter((it) => it.metadata.annotations?.[DEFAULT_CLASS] === "true")
    // The newest one wins, as in the API server.
    .sort(
      (a, b) =>
        (b.metadata.creationTimestamp ?? "").localeCompare(a.metadata.creationTimestamp ?? "") || (a.metadata.name ?? "").localeCompare(b.metadata.name ?? ""),
    );
  if (classes[0]?.metadata.name !== undefined) spec["storageClassName"] = classes[0].metadata.name;
}

function protect(object: ApiObject, finalizer: string): void {
  object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), finalizer])];
}

const storageRequest = (object: ApiObject): string => textAt(object, "spec", "resources", "requests", "storage");

function validateClaim(claim: ApiObject): FieldError[] {
  const spec = objectAt(claim, "spec") ?? {};
  const errors: FieldError[] = [];
  const modes = textsAt(spec, "accessModes");
  if (modes.length === 0) errors.push(required("spec.accessModes", "at least 1 access mode is required"));
  for (const mode of modes) if (!ACCESS_MODES.includes(mode)) errors.push(notSupported("spec.accessModes", mode, ACCESS_MODES));
  if (modes.includes("ReadWriteOncePod") && modes.length > 1)
    errors.push(fieldForbidden("spec.accessModes", "may not use ReadWriteOncePod with other access modes"));
  const request = storageRequest(claim);
  if (request === "") errors.push(required("spec.resources[storage]"));
  else if ((compareQuantities(request, "0") ?? 1) <= 0) errors.push(invalid("spec.resources[storage]", request, "must be greater than zero"));
  const mode = textAt(spec, "volumeMode");
  if (mode !== "Filesystem" && mode !== "Block") errors.push(notSupported("spec.volumeMode", mode, ["Block", "Filesystem"]));
  return errors;
}

export const persistentVolumeClaims: Strategy = {
  statusFields: ["status"],
  defaults: (claim) => defaultClaimSpec(ensureObject(claim, "spec")),
  prepareCreate(claim, world) {
    defaultStorageClass(claim, world);
    joinDataSources(ensureObject(claim, "spec"));
    protect(claim, "kubernetes.io/pvc-protection");
    claim["status"] = { phase: "Pending" };
  },
  prepareUpdate: (claim) => joinDataSources(ensureObject(claim, "spec")),
  validate: validateClaim,
  validateUpdate(claim, old) {
    const errors = validateClaim(claim);
    const fixed = (it: ApiObject): JsonObject => {
      const spec = clone(objectAt(it, "spec") ?? {});
      delete spec["resources"];
      delete spec["volumeAttributesClassName"];
      // A binder may fill these in; they are never changed afterwards.
      if (textAt(old, "spec", "volumeName") === "") delete spec["volumeName"];
      if (objectAt(old, "spec")?.["storageClassName"] === undefined) delete spec["storageClassName"];
      return spec;
    };
    if (!equal(fixed(claim), fixed(old)))
      errors.push(fieldForbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"));
    const before = storageRequest(old);
    const after = storageRequest(claim);
    if (before !== after) {
      if (textAt(old, "status", "phase") !== "Bound" || (compareQuantities(after, before) ?? 0) < 0) {
        const smaller = (compareQuantities(after, before) ?? 0) < 0;
        errors.push(
          smaller
            ? fieldForbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
            : fieldForbidden("spec", "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"),
        );
      }
    }
    return errors;
  },
  admit(claim, old, world) {
    if (old === undefined || storageRequest(claim) === storageRequest(old)) return;
    const name = textAt(claim, "spec", "storageClassName");
    if (world.storage.get("storage.k8s.io/storageclasses", name)?.["allowVolumeExpansion"] !== true)
      throw forbidden(
        { group: "", name: "persistentvolumeclaims" },
        claim.metadata.name ?? "",
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
      );
  },
};

const VOLUME_FIELDS = new Set([
  "capacity",
  "accessModes",
  "claimRef",
  "persistentVolumeReclaimPolicy",
  "storageClassName",
  "mountOptions",
  "volumeMode",
  "nodeAffinity",
  "volumeAttributesClassName",
]);

function sourceOf(volume: ApiObject): JsonObject {
  return Object.fromEntries(Object.entries(objectAt(volume, "spec") ?? {}).filter(([key]) => !VOLUME_FIELDS.has(key)));
}

function validateVolume(volume: ApiObject): FieldError[] {
  const spec = objectAt(volume, "spec") ?? {};
  const errors: FieldError[] = [];
  const modes = textsAt(spec, "accessModes");
  if (modes.length === 0) errors.push(required("spec.accessModes"));
  for (const mode of modes) if (!ACCESS_MODES.includes(mode)) errors.push(notSupported("spec.accessModes", mode, ACCESS_MODES));
  if (objectAt(spec, "capacity") === undefined) errors.push(required("spec.capacity"));
  if (textAt(spec, "capacity", "storage") === "") errors.push(notSupported("spec.capacity", objectAt(spec, "capacity") ?? null, ["storage"]));
  const sources = Object.keys(sourceOf(volume));
  if (sources.length === 0) errors.push(required("spec", "must specify a volume type"));
  for (const extra of sources.slice(1)) errors.push(fieldForbidden(`spec.${extra}`, "may not specify more than 1 volume type"));
  const csi = objectAt(spec, "csi");
  if (csi !== undefined) for (const field of ["driver", "volumeHandle"]) if (textAt(csi, field) === "") errors.push(required(`spec.csi.${field}`));
  const policies = ["Delete", "Recycle", "Retain"];
  if (!policies.includes(textAt(spec, "persistentVolumeReclaimPolicy")))
    errors.push(notSupported("spec.persistentVolumeReclaimPolicy", textAt(spec, "persistentVolumeReclaimPolicy"), policies));
  return errors;
}

export const persistentVolumes: Strategy = {
  statusFields: ["status"],
  defaults(volume) {
    const spec = ensureObject(volume, "spec");
    if (textAt(spec, "persistentVolumeReclaimPolicy") === "") spec["persistentVolumeReclaimPolicy"] = "Retain";
    setDefault(spec, "volumeMode", "Filesystem");
    const hostPath = objectAt(spec, "hostPath");
    if (hostPath !== undefined) setDefault(hostPath, "type", "");
  },
  prepareCreate(volume, world) {
    protect(volume, "kubernetes.io/pv-protection");
    volume["status"] = { phase: "Pending", lastPhaseTransitionTime: new Date(world.clock.nowMs()).toISOString().replace(/\.\d+Z$/, "Z") };
  },
  validate: validateVolume,
  validateUpdate(volume, old) {
    const errors = validateVolume(volume);
    const withoutSecrets = (it: ApiObject): JsonObject => {
      const source = clone(sourceOf(it));
      const csi = objectAt(source, "csi");
      if (csi !== undefined) delete csi["controllerExpandSecretRef"];
      return source;
    };
    if (!equal(withoutSecrets(volume), withoutSecrets(old)))
      errors.push(fieldForbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"));
    for (const field of ["volumeMode"]) {
      if (textAt(volume, "spec", field) !== textAt(old, "spec", field))
        errors.push(invalid(`spec.${field}`, textAt(volume, "spec", field), "field is immutable"));
    }
    const affinity = objectAt(old, "spec", "nodeAffinity");
    if (affinity !== undefined && !equal(affinity, objectAt(volume, "spec", "nodeAffinity")))
      errors.push(invalid("spec.nodeAffinity", objectAt(volume, "spec", "nodeAffinity"), "field is immutable, except for updating from beta label to GA"));
    return errors;
  },
};

export const storageClasses: Strategy = {
  defaults(storageClass) {
    setDefault(storageClass, "reclaimPolicy", "Delete");
    setDefault(storageClass, "volumeBindingMode", "Immediate");
  },
  validate(storageClass) {
    const errors: FieldError[] = textAt(storageClass, "provisioner") === "" ? [required("provisioner")] : [];
    const modes = ["Immediate", "WaitForFirstConsumer"];
    if (!modes.includes(textAt(storageClass, "volumeBindingMode")))
      errors.push(notSupported("volumeBindingMode", textAt(storageClass, "volumeBindingMode"), modes));
    const policies = ["Delete", "Retain"];
    if (!policies.includes(textAt(storageClass, "reclaimPolicy"))) errors.push(notSupported("reclaimPolicy", textAt(storageClass, "reclaimPolicy"), policies));
    return errors;
  },
  validateUpdate(storageClass, old) {
    const errors: FieldError[] = [];
    if (!equal(storageClass["parameters"], old["parameters"])) errors.push(fieldForbidden("parameters", "updates to parameters are forbidden."));
    if (storageClass["provisioner"] !== old["provisioner"]) errors.push(fieldForbidden("provisioner", "updates to provisioner are forbidden."));
    if (storageClass["reclaimPolicy"] !== old["reclaimPolicy"]) errors.push(fieldForbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."));
    if (storageClass["volumeBindingMode"] !== old["volumeBindingMode"])
      errors.push(invalid("volumeBindingMode", storageClass["volumeBindingMode"], "field is immutable"));
    return errors;
  },
};

export const csiDrivers: Strategy = {
  defaults(driver) {
    const spec = ensureObject(driver, "spec");
    const defaults = { attachRequired: true, podInfoOnMount: false, storageCapacity: false, requiresRepublish: false, seLinuxMount: false };
    for (const [field, value] of Object.entries(defaults)) setDefault(spec, field, value);
    setDefault(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if (textsAt(spec, "volumeLifecycleModes").length === 0) spec["volumeLifecycleModes"] = ["Persistent"];
  },
};

export const volumeAttachments: Strategy = {
  statusFields: ["status"],
  prepareCreate(attachment) {
    attachment["status"] = { attached: false };
  },
  validateUpdate: (attachment, old) => (equal(attachment["spec"], old["spec"]) ? [] : [invalid("spec", attachment["spec"], "field is immutable")]),
};

export const csiNodes: Strategy = {
  validate: (node) =>
    objectsAt(node, "spec", "drivers").flatMap((driver, index) => (textAt(driver, "name") === "" ? [required(`spec.drivers[${index}].name`)] : [])),
};
