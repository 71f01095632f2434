// Azurite's blob service, ended when the program that started it ends: its end of our standard input is
// closed then, however it died, so that no server is ever left behind.
"use strict";
process.stdin.on("end", () => process.exit(0));
process.stdin.on("error", () => process.exit(0));
process.stdin.resume();
require("azurite/dist/src/blob/main.js");
