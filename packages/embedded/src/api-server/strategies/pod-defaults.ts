/** Defaults of pods and pod templates. */
import { ensureObject, type JsonObject, objectAt, objectsAt, setDefault, textAt } from "../json.ts";

const DEFAULT_MODE = 0o644;

/** Defaults of a pod spec, wherever it stands. */
export function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, "dnsPolicy", "ClusterFirst");
  setDefault(spec, "restartPolicy", "Always");
  setDefault(spec, "schedulerName", "default-scheduler");
  setDefault(spec, "terminationGracePeriodSeconds", 30);
  setDefault(spec, "securityContext", {});
  // The older name of the field is kept equal to the newer one.
  if (textAt(spec, "serviceAccountName") === "" && textAt(spec, "serviceAccount") !== "") spec["serviceAccountName"] = textAt(spec, "serviceAccount");
  if (textAt(spec, "serviceAccountName") !== "") spec["serviceAccount"] = textAt(spec, "serviceAccountName");
  for (const volume of objectsAt(spec, "volumes")) defaultVolume(volume);
  for (const field of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const container of objectsAt(spec, field)) defaultContainer(container, spec["hostNetwork"] === true);
  }
}

export function defaultPodTemplate(template: JsonObject | undefined): void {
  if (template !== undefined) defaultPodSpec(ensureObject(template, "spec"));
}

function defaultContainer(container: JsonObject, hostNetwork: boolean): void {
  if (textAt(container, "imagePullPolicy") === "")
    container["imagePullPolicy"] = /(:latest|^[^:@]*|\/[^:@]*)$/.test(textAt(container, "image")) ? "Always" : "IfNotPresent";
  if (textAt(container, "terminationMessagePath") === "") container["terminationMessagePath"] = "/dev/termination-log";
  if (textAt(container, "terminationMessagePolicy") === "") container["terminationMessagePolicy"] = "File";
  for (const port of objectsAt(container, "ports")) {
    setDefault(port, "protocol", "TCP");
    if (hostNetwork && port["containerPort"] !== undefined) setDefault(port, "hostPort", port["containerPort"]);
  }
  for (const variable of objectsAt(container, "env")) {
    const fieldRef = objectAt(variable, "valueFrom", "fieldRef");
    if (fieldRef !== undefined && textAt(fieldRef, "apiVersion") === "") fieldRef["apiVersion"] = "v1";
  }
  for (const name of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    const probe = objectAt(container, name);
    if (probe === undefined) continue;
    for (const [field, value] of Object.entries({ timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 }))
      setDefault(probe, field, value);
    defaultHandler(probe);
  }
  for (const hook of ["postStart", "preStop"]) {
    const handler = objectAt(container, "lifecycle", hook);
    if (handler !== undefined) defaultHandler(handler);
  }
}

function defaultHandler(handler: JsonObject): void {
  const http = objectAt(handler, "httpGet");
  if (http !== undefined) {
    setDefault(http, "path", "/");
    setDefault(http, "scheme", "HTTP");
  }
  const grpc = objectAt(handler, "grpc");
  if (grpc !== undefined) setDefault(grpc, "service", "");
}

function defaultVolume(volume: JsonObject): void {
  if (Object.keys(volume).every((key) => key === "name")) volume["emptyDir"] = {};
  for (const source of ["secret", "configMap", "projected", "downwardAPI"]) {
    const found = objectAt(volume, source);
    if (found !== undefined) setDefault(found, "defaultMode", DEFAULT_MODE);
  }
  const hostPath = objectAt(volume, "hostPath");
  if (hostPath !== undefined) setDefault(hostPath, "type", "");
  for (const item of [
    ...objectsAt(volume, "downwardAPI", "items"),
    ...objectsAt(volume, "projected", "sources").flatMap((it) => objectsAt(it, "downwardAPI", "items")),
  ]) {
    const fieldRef = objectAt(item, "fieldRef");
    if (fieldRef !== undefined && textAt(fieldRef, "apiVersion") === "") fieldRef["apiVersion"] = "v1";
  }
  for (const source of objectsAt(volume, "projected", "sources")) {
    const token = objectAt(source, "serviceAccountToken");
    if (token !== undefined) setDefault(token, "expirationSeconds", 3600);
  }
  const claim = objectAt(volume, "ephemeral", "volumeClaimTemplate", "spec");
  if (claim !== undefined) setDefault(claim, "volumeMode", "Filesystem");
}
