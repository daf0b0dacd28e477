"""What use cases ask for, done with SQL, gRPC, Protobuf and argon2."""
