/**
 * `dray data-mover faulty-store cut|hold`: an object store in which nothing works, for a mover image that is checked: it cuts every connection, or takes every request and never
 * answers. It prints a line for each connection, by which the suite knows that the mover is at work, and runs until it is ended.
 */
import { createServer, type Socket } from "node:net";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

/** A mover that opens more than this at once is cut off as well. */
const CONNECTIONS_MAX = 256;

export function define(command: Command, terminal: Terminal): void {
  command
    .argument("<fault>", "cut or hold")
    .requiredOption("--port <port>", "where it listens, on every address")
    .action((fault: string, { port }: { readonly port: string }) => {
      if (fault !== "cut" && fault !== "hold") throw new DrayError("USAGE", `Cannot serve a store that is to ${fault}: cut or hold is wanted`);
      return serve(fault, Number(port), terminal);
    });
}

async function serve(fault: "cut" | "hold", port: number, terminal: Terminal): Promise<void> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => socket.destroy()).once("close", () => open.delete(socket));
    // The request has begun by then, so that it is a connection that breaks and not one that was never made.
    socket.once("data", () => {
      terminal.out(`${fault}\n`);
      if (fault === "cut") socket.destroy();
    });
    socket.resume();
  });
  server.maxConnections = CONNECTIONS_MAX;
  const ended = Promise.withResolvers<void>();
  server.once("error", ended.reject);
  terminal.signal.addEventListener("abort", () => ended.resolve());
  server.listen(port, () => terminal.out("listening\n"));
  try {
    await ended.promise;
  } finally {
    for (const socket of open) socket.destroy();
    server.close();
  }
}
