/** A call whose answer is a stream. */
import { DrayError } from "@drayage/base";
import type { Client as GrpcClient, MethodDefinition, ServiceError } from "@grpc/grpc-js";
import { errorFromStatus } from "./status.ts";

export interface StreamCallOptions {
  /** How long the other side may be silent. @default 60 seconds */
  readonly silenceMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const SILENCE_MS = 60_000;

/** The answers, as they are taken. A failure is thrown as status.ts says, silence is CSI_UNAVAILABLE, and an abort throws the signal's reason. */
export async function* streamCall<Response>(
  client: GrpcClient,
  definition: MethodDefinition<object, Response>,
  request: object,
  { silenceMs = SILENCE_MS, signal }: StreamCallOptions,
): AsyncGenerator<Response, undefined> {
  signal?.throwIfAborted();
  const stream = client.makeServerStreamRequest(definition.path, definition.requestSerialize, definition.responseDeserialize, request);
  const cancel = (): void => stream.cancel();
  signal?.addEventListener("abort", cancel, { once: true });
  let isSilent = false;
  const startTimer = (): NodeJS.Timeout =>
    setTimeout(() => {
      isSilent = true;
      stream.cancel();
    }, silenceMs);
  let timer = startTimer();
  try {
    for await (const response of stream) {
      clearTimeout(timer);
      yield response as Response;
      timer = startTimer();
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (isSilent) throw new DrayError("CSI_UNAVAILABLE", `Cannot call "${definition.path}": no answer came within ${silenceMs / 1000} s`);
    throw errorFromStatus(definition.path, error as ServiceError);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", cancel);
    stream.cancel();
  }
  return undefined;
}
