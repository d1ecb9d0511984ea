export * from "./client.ts";
export * from "./messages.ts";
export * from "./serve-socket.ts";
export * from "./server.ts";
export * from "./services.ts";
export * from "./socket.ts";
export * from "./status.ts";
