/** Asks one webhook: where it is, the request over TLS, and an answer that is believed only as far as it fits the question. */
import { request as httpsRequest } from "node:https";
import { type ApiObject, isObject, type JsonObject, numberAt, objectAt, objectsAt, textAt } from "../json.ts";
import { matchesLabelSelector } from "../selectors.ts";
import type { Storage } from "../storage.ts";

const ANSWER_MAX_BYTES = 3 << 20;
const DEFAULT_TIMEOUT_SECONDS = 10;

interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

interface Answer {
  readonly code: number;
  readonly text: string;
}

interface Target {
  /** As messages name it. */
  readonly url: string;
  /** Where a pod behind it is asked in its place. */
  readonly service?: ServiceName;
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly serverName: string;
}

/** The response of the review. Throws where there is none, whatever the reason. */
export async function callWebhook(webhook: JsonObject, request: JsonObject, storage: Storage): Promise<JsonObject> {
  const timeoutSeconds = numberAt(webhook, "timeoutSeconds") ?? DEFAULT_TIMEOUT_SECONDS;
  const config = objectAt(webhook, "clientConfig") ?? {};
  const target = targetOf(config);
  const caBundle = textAt(config, "caBundle");
  const body = Buffer.from(JSON.stringify({ kind: "AdmissionReview", apiVersion: "admission.k8s.io/v1", request }));
  let answer: Answer;
  try {
    const address = target.service === undefined ? target : { ...target, ...endpointOf(target.service, target.port, storage) };
    answer = await post(address, body, timeoutSeconds, caBundle === "" ? undefined : Buffer.from(caBundle, "base64").toString("utf8"));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`failed to call webhook: Post "${target.url}?timeout=${timeoutSeconds}s": ${why}`);
  }
  const { code, text } = answer;
  if (code !== 200)
    throw new Error(`failed to call webhook: an error on the server (${JSON.stringify(text.trim())}) has prevented the request from succeeding`);
  const review: unknown = JSON.parse(text);
  const response = objectAt(review, "response");
  if (!isObject(review) || textAt(review, "kind") !== "AdmissionReview" || textAt(review, "apiVersion") !== "admission.k8s.io/v1")
    throw new Error(
      `expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got ${textAt(review, "apiVersion")}, Kind=${textAt(review, "kind")}`,
    );
  if (response === undefined) throw new Error("webhook response is absent");
  if (textAt(response, "uid") !== textAt(request, "uid"))
    throw new Error(`expected response.uid=${JSON.stringify(textAt(request, "uid"))}, got ${JSON.stringify(textAt(response, "uid"))}`);
  return response;
}

function targetOf(config: JsonObject): Target {
  const service = objectAt(config, "service");
  if (service === undefined) {
    const url = new URL(textAt(config, "url"));
    return { url: url.href, host: url.hostname.replace(/^\[(.*)\]$/, "$1"), port: Number(url.port || 443), path: url.pathname, serverName: url.hostname };
  }
  const [namespace, name] = [textAt(service, "namespace"), textAt(service, "name")];
  const port = numberAt(service, "port") ?? 443;
  const path = textAt(service, "path") || "/";
  const serverName = `${name}.${namespace}.svc`;
  return { url: `https://${serverName}:${port}${path}`, host: serverName, port, path, serverName, service: { namespace, name } };
}

/** A pod behind a service. The server itself is the service's network: nobody else forwards what is sent to its address. */
function endpointOf({ namespace, name }: ServiceName, port: number, storage: Storage): { readonly host: string; readonly port: number } {
  const service = storage.get("services", `${namespace}/${name}`);
  if (service === undefined) throw new Error(`service "${name}" not found`);
  const served = objectsAt(service, "spec", "ports").find((it) => numberAt(it, "port") === port);
  if (served === undefined) throw new Error(`no service port ${port} found for service "${name}"`);
  const selector = objectAt(service, "spec", "selector") ?? {};
  const pod = storage
    .list("pods", namespace)
    .find((it) => Object.keys(selector).length > 0 && matchesLabelSelector({ matchLabels: selector }, it.metadata.labels ?? {}) && isReady(it));
  if (pod === undefined) throw new Error(`no endpoints available for service "${name}"`);
  const target = served["targetPort"] ?? port;
  const ports = objectsAt(pod, "spec", "containers").flatMap((container) => objectsAt(container, "ports"));
  const number =
    typeof target === "number"
      ? target
      : numberAt(
          ports.find((it) => it["name"] === target),
          "containerPort",
        );
  if (number === undefined) throw new Error(`service "${name}" names port ${JSON.stringify(target)}, which its pods do not have`);
  return { host: textAt(pod, "status", "podIP"), port: number };
}

function isReady(pod: ApiObject): boolean {
  return textAt(pod, "status", "podIP") !== "" && objectsAt(pod, "status", "conditions").some((it) => it["type"] === "Ready" && it["status"] === "True");
}

function post({ host, port, path, serverName }: Target, body: Buffer, timeoutSeconds: number, ca: string | undefined): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const isAddress = /^[\d.]+$|:/.test(serverName);
    const request = httpsRequest({
      host,
      port,
      path: `${path}?timeout=${timeoutSeconds}s`,
      method: "POST",
      agent: false,
      ...(isAddress ? {} : { servername: serverName }),
      ...(ca === undefined ? {} : { ca }),
      headers: { "content-type": "application/json", accept: "application/json", "content-length": body.length },
      signal: AbortSignal.timeout(timeoutSeconds * 1000),
    });
    request.once("error", (error) => reject(error.name === "AbortError" || error.name === "TimeoutError" ? new Error("context deadline exceeded") : error));
    request.once("response", (response) => {
      const parts: Buffer[] = [];
      let size = 0;
      response.on("data", (part: Buffer) => {
        size += part.length;
        if (size > ANSWER_MAX_BYTES) request.destroy(new Error("the answer is too long"));
        else parts.push(part);
      });
      response.once("error", reject);
      response.once("end", () => resolve({ code: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }));
    });
    request.end(body);
  });
}
