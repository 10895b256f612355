"""Smart contracts: the WebAssembly that every edge server executes to get w_g (Algorithm 1, SmartContract)."""
