// swift-tools-version: 6.3
//
// Fuzzing, one program a codec, by the libFuzzer that comes with the Swift toolchain.
//
//   scripts/fuzz                       every target for 300 s
//   scripts/fuzz vrrp-advert 60        one target, for a minute
//   scripts/fuzz vrrp-advert FILE      one input again, such as a crash that was kept
//
// To add a target:
//   1. Name the module that it feeds a library product in ../Package.swift, if it isn't one yet.
//   2. Add `target("NAME", ["Module"])` below.
//   3. Write Sources/fuzz-NAME/main.swift. The shortest example is fuzz-wire's; all have this shape:
//
//          import Fuzzing
//          import Module
//
//          @_cdecl("LLVMFuzzerTestOneInput")
//          func feed(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
//            withInput(start, count) { bytes in … }   // a RawSpan; or `Input(bytes)` to take a stream of choices from it
//            return 0
//          }
//          runFuzzer(feed)
//
//      Don't only look for crashes: say what must hold with `precondition`, such as that what was read is written so that
//      it reads the same.
//   4. Put a few small valid inputs into corpus/NAME/. A crash that was found and mended goes there too.
//
// It is a package of its own, so that nobody who builds the product needs the unsafe flags.
import PackageDescription

/// A program fuzz-NAME that feeds those modules.
func target(_ name: String, _ modules: [String]) -> Target {
  .executableTarget(
    name: "fuzz-\(name)",
    dependencies: ["Fuzzing"] + modules.map { .product(name: $0, package: "roost") },
    swiftSettings: [.swiftLanguageMode(.v6), .unsafeFlags(["-sanitize=fuzzer"])],
    linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
}

let package = Package(
  name: "roost-fuzz",
  dependencies: [.package(name: "roost", path: "..")],
  targets: [
    .target(name: "CFuzzer"),
    .target(name: "Fuzzing", dependencies: ["CFuzzer"], swiftSettings: [.swiftLanguageMode(.v6)]),
    target("wire", ["Wire"]),
    target("vrrp-advert", ["Basis", "Wire", "VRRP"]),
    target("vrrp-router", ["Basis", "Wire", "VRRP"]),
    target("peering", ["Peering"]),
    target("http1", ["HTTP1"]),
    target("scenario", ["Scenario"]),
    target("recording", ["Basis", "Wire", "VRRP", "Node"]),
    target("configuration", ["Configuration"]),
  ]
)
