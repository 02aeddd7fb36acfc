//! What a transmitter and a receiver must remember: ports, the memory implementation and the shared test suite
