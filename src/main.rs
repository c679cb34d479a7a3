//! The `sekisho` binary: everything it does is in the library's shell.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    sekisho::shell::cli::main()
}
