/** The HTTP side of the SDK: own agents, so that certificates and limits are the options', and the connections end with the storage. */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { rootCertificates } from "node:tls";
import { createDefaultHttpClient, createHttpHeaders, createPipelineRequest, type HttpClient, type PipelineRequest } from "@azure/core-rest-pipeline";
import { DEFAULT_TIMEOUTS } from "../store-timeouts.ts";
import type { AzureOptions } from "./azure-options.ts";

export interface AzureHttp {
  /** For the identity library. */
  readonly client: HttpClient;
  /** Sets agent and time limit of a request; for the storage library, whose pipeline is of an older kind. */
  prepare(request: { url: string; timeout: number; agent?: unknown }): void;
  post(url: string, bearer: string, signal: AbortSignal | undefined): Promise<{ readonly status: number; readonly body: string }>;
  close(): void;
}

export function azureHttp(options: AzureOptions): AzureHttp {
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const limits = { keepAlive: true, maxSockets: options.connectionsMax ?? 64 };
  const http = new HttpAgent(limits);
  const https = new HttpsAgent({
    ...limits,
    ...(options.caCert === undefined ? {} : { ca: [...rootCertificates, options.caCert] }),
    ...(options.insecureSkipTlsVerify === true ? { rejectUnauthorized: false } : {}),
  });
  const inner = createDefaultHttpClient();
  const prepare: AzureHttp["prepare"] = (request) => {
    request.agent = new URL(request.url).protocol === "http:" ? http : https;
    if (request.timeout === 0) request.timeout = timeouts.requestMs;
  };
  const client: HttpClient = {
    sendRequest(request: PipelineRequest) {
      prepare(request);
      return inner.sendRequest(request);
    },
  };
  return {
    client,
    prepare,
    async post(url, bearer, signal) {
      const headers = createHttpHeaders({ authorization: `Bearer ${bearer}`, "content-length": "0" });
      const request = createPipelineRequest({ url, method: "POST", headers, ...(signal === undefined ? {} : { abortSignal: signal }) });
      const { status, bodyAsText } = await client.sendRequest(request);
      return { status, body: bodyAsText ?? "" };
    },
    close() {
      http.destroy();
      https.destroy();
    },
  };
}
