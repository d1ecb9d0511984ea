export * from "./content-port.ts";
