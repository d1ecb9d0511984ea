/** What is wrong with a pod spec, in the words of the real server. */
import { type Json, type JsonObject, objectAt, objectsAt, textAt } from "../json.ts";
import { isLabel, LABEL_RULE } from "../names.ts";
import { compareQuantities } from "../quantity.ts";
import { duplicate, type FieldError, fieldNotFound, invalid, notSupported, required } from "../status-error.ts";

export function validatePodSpec(spec: JsonObject, path: string, restartPolicies: readonly string[] = ["Always", "OnFailure", "Never"]): FieldError[] {
  const errors: FieldError[] = [];
  const volumes = new Set<string>();
  for (const [index, volume] of objectsAt(spec, "volumes").entries()) errors.push(...validateVolume(volume, `${path}.volumes[${index}]`, volumes));
  const containers = objectsAt(spec, "containers");
  if (containers.length === 0) errors.push(required(`${path}.containers`));
  const names = new Set<string>();
  for (const field of ["containers", "initContainers"]) {
    for (const [index, container] of objectsAt(spec, field).entries())
      errors.push(...validateContainer(container, `${path}.${field}[${index}]`, { names, volumes, isInit: field === "initContainers" }));
  }
  const policy = textAt(spec, "restartPolicy");
  if (!restartPolicies.includes(policy)) errors.push(notSupported(`${path}.restartPolicy`, policy, restartPolicies));
  return errors;
}

function validateVolume(volume: JsonObject, path: string, seen: Set<string>): FieldError[] {
  const name = textAt(volume, "name");
  const errors: FieldError[] = [];
  if (name === "") errors.push(required(`${path}.name`));
  else if (!isLabel(name)) errors.push(invalid(`${path}.name`, name, LABEL_RULE));
  else if (seen.has(name)) errors.push(duplicate(`${path}.name`, name));
  seen.add(name);
  const sources = Object.keys(volume).filter((key) => key !== "name");
  for (const extra of sources.slice(1))
    errors.push({ type: "Forbidden", field: `${path}.${extra}`, message: "Forbidden: may not specify more than 1 volume type" });
  const required_: readonly (readonly [string, string])[] = [
    ["persistentVolumeClaim", "claimName"],
    ["secret", "secretName"],
    ["configMap", "name"],
    ["hostPath", "path"],
  ];
  for (const [source, field] of required_) {
    const found = objectAt(volume, source);
    if (found !== undefined && textAt(found, field) === "") errors.push(required(`${path}.${source}.${field}`));
  }
  return errors;
}

interface ContainerScope {
  readonly names: Set<string>;
  readonly volumes: ReadonlySet<string>;
  readonly isInit: boolean;
}

function validateContainer(container: JsonObject, path: string, scope: ContainerScope): FieldError[] {
  const errors: FieldError[] = [];
  const name = textAt(container, "name");
  if (name === "") errors.push(required(`${path}.name`));
  else if (!isLabel(name)) errors.push(invalid(`${path}.name`, name, LABEL_RULE));
  else if (scope.names.has(name)) errors.push(duplicate(`${path}.name`, name));
  scope.names.add(name);
  if (textAt(container, "image") === "") errors.push(required(`${path}.image`));
  const pullPolicy = textAt(container, "imagePullPolicy");
  const policies = ["Always", "IfNotPresent", "Never"];
  if (!policies.includes(pullPolicy)) errors.push(notSupported(`${path}.imagePullPolicy`, pullPolicy, policies));
  for (const [index, port] of objectsAt(container, "ports").entries()) {
    const number = port["containerPort"];
    if (number === 0 || number === undefined) errors.push(required(`${path}.ports[${index}].containerPort`));
    else if (typeof number === "number" && (number < 1 || number > 65_535))
      errors.push(invalid(`${path}.ports[${index}].containerPort`, number, "must be between 1 and 65535, inclusive"));
  }
  for (const [index, variable] of objectsAt(container, "env").entries())
    if (textAt(variable, "name") === "") errors.push(required(`${path}.env[${index}].name`));
  errors.push(...validateMounts(container, path, scope.volumes), ...validateResources(objectAt(container, "resources"), `${path}.resources`));
  return errors;
}

function validateMounts(container: JsonObject, path: string, volumes: ReadonlySet<string>): FieldError[] {
  const errors: FieldError[] = [];
  const places = new Set<string>();
  for (const [list, place] of [
    ["volumeMounts", "mountPath"],
    ["volumeDevices", "devicePath"],
  ] as const) {
    for (const [index, mount] of objectsAt(container, list).entries()) {
      const at = `${path}.${list}[${index}]`;
      const name = textAt(mount, "name");
      if (name === "") errors.push(required(`${at}.name`));
      else if (!volumes.has(name)) errors.push(fieldNotFound(`${at}.name`, name));
      const where = textAt(mount, place);
      if (where === "") errors.push(required(`${at}.${place}`));
      else if (places.has(where))
        errors.push(list === "volumeMounts" ? invalid(`${at}.${place}`, where, "must be unique") : duplicate(`${at}.${place}`, where));
      places.add(where);
    }
  }
  return errors;
}

/** A request above its limit can never be met. */
export function validateResources(resources: JsonObject | undefined, path: string): FieldError[] {
  const limits = objectAt(resources, "limits") ?? {};
  const requests = objectAt(resources, "requests") ?? {};
  const errors: FieldError[] = [];
  for (const [name, value] of Object.entries(requests)) {
    const limit: Json | undefined = limits[name];
    if (typeof value === "string" && typeof limit === "string" && (compareQuantities(value, limit) ?? 0) > 0)
      errors.push(invalid(`${path}.requests`, value, `must be less than or equal to ${name} limit of ${limit}`));
  }
  return errors;
}
