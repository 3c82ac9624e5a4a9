// swift-tools-version: 6.3
import PackageDescription

/// Programs that only measurements need, kept out of the main package.
let package = Package(
  name: "roost-benchmarks",
  dependencies: [.package(name: "roost", path: "..")],
  targets: [
    .executableTarget(
      name: "proxy-run", dependencies: [.product(name: "ProxyParts", package: "roost")],
      swiftSettings: [.swiftLanguageMode(.v6)]),
    .executableTarget(
      name: "secure-run", dependencies: [.product(name: "SecureParts", package: "roost")],
      swiftSettings: [.swiftLanguageMode(.v5)]),
  ]
)
