//! The program: everything is in the library, see its map.

fn main() -> std::process::ExitCode {
    sidegate::cli::main()
}
