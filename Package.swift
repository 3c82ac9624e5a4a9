// swift-tools-version: 6.3
import PackageDescription

/// Cores and codecs: pure Swift, every unsafe operation named, no warning left.
let core: [SwiftSetting] = [.swiftLanguageMode(.v6), .strictMemorySafety(), .treatAllWarnings(as: .error)]
/// Everything that talks to the kernel or to people.
let edge: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

let package = Package(
  name: "roost",
  products: [
    .executable(name: "roost", targets: ["roost"]),
    // For Benchmarks/ and Fuzz/, packages of their own: each links only what it measures or feeds.
    .library(name: "ProxyParts", targets: ["Proxy", "Balancing", "Wire", "Basis", "Linux"]),
    .library(name: "SecureParts", targets: ["PeerLink", "Crypto", "VRRP", "Wire", "Basis", "Linux"]),
    .library(name: "Basis", targets: ["Basis"]),
    .library(name: "Wire", targets: ["Wire"]),
    .library(name: "VRRP", targets: ["VRRP"]),
    .library(name: "HTTP1", targets: ["HTTP1"]),
    .library(name: "Node", targets: ["Node"]),
    .library(name: "Peering", targets: ["Peering"]),
    .library(name: "Scenario", targets: ["Scenario"]),
    .library(name: "Configuration", targets: ["Configuration"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
  ],
  targets: [
    // Cores: values in, values out. No clock, no I/O, no Foundation.
    .target(name: "Basis", path: "Sources/Cores/Basis", swiftSettings: core),
    .target(name: "Wire", dependencies: ["Basis"], path: "Sources/Cores/Wire", swiftSettings: core),
    .target(name: "VRRP", dependencies: ["Basis", "Wire"], path: "Sources/Cores/VRRP", swiftSettings: core),
    .target(name: "Health", dependencies: ["Basis"], path: "Sources/Cores/Health", swiftSettings: core),
    .target(name: "Balancing", dependencies: ["Basis", "Wire"], path: "Sources/Cores/Balancing", swiftSettings: core),
    .target(name: "HTTP1", path: "Sources/Cores/HTTP1", swiftSettings: core),
    .target(name: "Peering", dependencies: ["Basis"], path: "Sources/Cores/Peering", swiftSettings: core),
    .target(
      name: "Node", dependencies: ["Basis", "Wire", "VRRP", "Health", "Balancing", "Peering"], swiftSettings: core),

    .target(
      name: "Configuration",
      dependencies: ["Basis", "Wire", "VRRP", "Health", "Balancing", "Node", .product(name: "Yams", package: "Yams")],
      swiftSettings: edge),

    // System: the kernel's interfaces.
    .target(name: "CLinux", path: "Sources/System/CLinux"),
    .target(
      name: "Linux", dependencies: ["CLinux", "Basis", "Wire"], path: "Sources/System/Linux", swiftSettings: edge),

    // OpenSSL 3 as Debian ships it: the one library for TLS, certificates and keyed hashes.
    .target(
      name: "COpenSSL", path: "Sources/System/COpenSSL",
      linkerSettings: [.linkedLibrary("ssl"), .linkedLibrary("crypto")]),
    .target(
      name: "Crypto", dependencies: ["COpenSSL", "VRRP", "Wire"], path: "Sources/System/Crypto", swiftSettings: edge),

    // Edges: what runs beside the loop.
    .target(
      name: "Guardian", dependencies: ["Linux", "CLinux", "Crypto", "VRRP", "Basis", "Wire"],
      path: "Sources/Edges/Guardian", swiftSettings: edge),
    .target(
      name: "PeerLink", dependencies: ["Linux", "CLinux", "Crypto", "COpenSSL", "Peering", "Basis", "Wire"],
      path: "Sources/Edges/PeerLink", swiftSettings: edge),
    .target(
      name: "Tracking", dependencies: ["Node", "Linux", "CLinux", "Prober", "Health", "Basis", "Wire"],
      path: "Sources/Edges/Tracking", swiftSettings: edge),
    .target(
      name: "Notify", dependencies: ["Node", "Linux", "CLinux", "Crypto", "COpenSSL", "HTTP1", "Basis", "Wire"],
      path: "Sources/Edges/Notify", swiftSettings: edge),
    .target(
      name: "Proxy", dependencies: ["Linux", "CLinux", "Basis", "Wire", "Balancing"], path: "Sources/Edges/Proxy",
      swiftSettings: edge),
    .target(
      name: "Prober", dependencies: ["Linux", "CLinux", "Basis", "Wire", "Health", "HTTP1"],
      path: "Sources/Edges/Prober",
      swiftSettings: edge),
    .target(
      name: "Control", dependencies: ["Linux", "CLinux", "Basis", "HTTP1"], path: "Sources/Edges/Control",
      swiftSettings: edge),
    .target(
      name: "Telemetry", dependencies: ["Node", "Linux", "CLinux", "Basis", "Wire"], path: "Sources/Edges/Telemetry",
      swiftSettings: edge),

    // Tools: the cluster on one machine, and on virtual time.
    // The built-in scenarios are compiled in: the binary stays one file that needs no folder beside it.
    .target(
      name: "Scenario", dependencies: ["Basis"], path: "Sources/Tools/Scenario",
      resources: [.embedInCode("BuiltIn")], swiftSettings: edge),
    .target(
      name: "Simulator", dependencies: ["Scenario", "Node", "Peering", "Basis", "Wire", "VRRP", "Health"],
      path: "Sources/Tools/Simulator",
      swiftSettings: edge),
    .target(
      name: "Lab", dependencies: ["Scenario", "Configuration", "Linux", "CLinux", "Basis", "Wire", "VRRP"],
      path: "Sources/Tools/Lab", swiftSettings: edge),
    .executableTarget(name: "lab-helper", dependencies: ["Lab"], swiftSettings: edge),

    .executableTarget(
      name: "roost",
      dependencies: [
        "Node", "Configuration", "Linux", "CLinux", "Proxy", "Prober", "Control", "Telemetry", "Scenario", "Simulator",
        "Lab", "Guardian", "PeerLink", "Tracking", "Notify", "Crypto", "Peering",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: edge),

    // Tests: sentence names, one folder a module.
    .testTarget(name: "WireTests", dependencies: ["Wire", "Basis"], swiftSettings: edge),
    .testTarget(name: "VRRPTests", dependencies: ["VRRP", "Crypto", "Wire", "Basis"], swiftSettings: edge),
    .testTarget(name: "HealthTests", dependencies: ["Health", "Basis"], swiftSettings: edge),
    .testTarget(name: "BalancingTests", dependencies: ["Balancing", "Basis", "Wire"], swiftSettings: edge),
    .testTarget(name: "HTTP1Tests", dependencies: ["HTTP1"], swiftSettings: edge),
    .testTarget(
      name: "NodeTests", dependencies: ["Node", "Peering", "Basis", "Wire", "VRRP", "Health"], swiftSettings: edge),
    .testTarget(
      name: "ConfigurationTests", dependencies: ["Configuration", "Basis", "Wire", "VRRP", "Health", "Node"],
      exclude: ["golden"],
      swiftSettings: edge),
    .testTarget(name: "LinuxTests", dependencies: ["Linux", "CLinux", "Basis", "Wire"], swiftSettings: edge),
    .testTarget(
      name: "ProxyTests", dependencies: ["Proxy", "Linux", "CLinux", "Basis", "Wire", "Balancing"], swiftSettings: edge),
    .testTarget(
      name: "ProberTests", dependencies: ["Prober", "Linux", "CLinux", "Basis", "Wire", "Health", "HTTP1"],
      swiftSettings: edge),
    .testTarget(
      name: "ControlTests", dependencies: ["Control", "Linux", "CLinux", "Basis", "HTTP1"], swiftSettings: edge),
    .testTarget(
      name: "TelemetryTests", dependencies: ["Telemetry", "Node", "Linux", "Basis", "Wire", "VRRP", "Health"],
      swiftSettings: edge),
    .testTarget(name: "ScenarioTests", dependencies: ["Scenario", "Basis"], swiftSettings: edge),
    .testTarget(
      name: "SimulatorTests", dependencies: ["Simulator", "Scenario", "Node", "Basis", "Wire", "VRRP", "Health"],
      swiftSettings: edge),
    .testTarget(name: "CryptoTests", dependencies: ["Crypto", "VRRP", "Wire", "Basis"], swiftSettings: edge),
    .testTarget(name: "PeeringTests", dependencies: ["Peering", "Basis"], swiftSettings: edge),
    .testTarget(
      name: "PeerLinkTests", dependencies: ["PeerLink", "Peering", "Crypto", "Linux", "CLinux", "Basis", "Wire"],
      swiftSettings: edge),
    .testTarget(
      name: "GuardianTests", dependencies: ["Guardian", "roost", "Crypto", "Linux", "CLinux", "VRRP", "Basis", "Wire"],
      swiftSettings: edge),
    .testTarget(
      name: "TrackingTests", dependencies: ["Tracking", "Prober", "Node", "Linux", "CLinux", "Basis", "Wire"],
      swiftSettings: edge
    ),
    .testTarget(
      name: "NotifyTests", dependencies: ["Notify", "Node", "Linux", "CLinux", "Basis", "Wire"], swiftSettings: edge),
    // The shipped unit under a real systemd; needs root.
    .testTarget(
      name: "SystemdTests", dependencies: ["roost"], exclude: ["container", "traffic.py"], swiftSettings: edge),
    .testTarget(
      name: "RoostTests", dependencies: ["roost", "Configuration", "Telemetry", "Linux", "Basis", "Wire"],
      swiftSettings: edge),
    // With Debian's keepalived as the peer; needs root.
    .testTarget(
      name: "InteropTests",
      dependencies: ["roost", "Lab", "Configuration", "Linux", "CLinux", "Basis", "VRRP", "Wire"],
      swiftSettings: edge),
    .testTarget(
      name: "LabTests",
      dependencies: [
        "Lab", "lab-helper", "roost", "Scenario", "Configuration", "Linux", "CLinux", "Basis", "Wire", "VRRP",
      ],
      swiftSettings: edge),
  ]
)
