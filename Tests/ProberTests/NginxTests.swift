import Basis
import Glibc
import Health
import Testing
import Wire

@testable import Prober

/// Debian's nginx with a configuration of this test's own, on loopback, in the foreground under this process.
private final class Nginx {
  let port: UInt16
  private let folder: String
  private var process: pid_t = 0

  static let isInstalled = access("/usr/sbin/nginx", X_OK) == 0

  init() throws {
    let (listener, port) = try listening()
    close(listener)
    self.port = port
    var template = Array("/tmp/roost-nginx-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw Failure(what: "mkdtemp") }
    folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    try write(
      "nginx.conf",
      """
      daemon off;
      master_process off;
      pid \(folder)/nginx.pid;
      error_log \(folder)/error.log;
      events { worker_connections 64; }
      http {
        access_log off;
        client_body_temp_path \(folder)/body; proxy_temp_path \(folder)/proxy; fastcgi_temp_path \(folder)/fastcgi;
        uwsgi_temp_path \(folder)/uwsgi; scgi_temp_path \(folder)/scgi;
        default_type text/plain;
        server { listen 127.0.0.1:\(port); listen [::1]:\(port); server_name _;
          location = /healthz { return 200 "all is ok\\n"; }
          location = /moved { return 302 /healthz; }
          location = /busy { return 503; }
          location = /big { alias \(folder)/big.txt; }
          location = /late { alias \(folder)/late.txt; }
        }
        server { listen 127.0.0.1:\(port); listen [::1]:\(port); server_name other.example;
          location / { return 200 "the other one"; }
        }
      }
      """)
    try write("big.txt", String(repeating: "x", count: 1_000_000) + "ok")
    try write("late.txt", String(repeating: "x", count: 60_000) + "ok" + String(repeating: "y", count: 60_000))
    try start()
  }

  struct Failure: Error { var what: String }

  func stop() {
    guard process > 0 else { return }
    kill(process, SIGKILL)
    waitpid(process, nil, 0)
    process = 0
    for name in ["nginx.conf", "big.txt", "late.txt", "nginx.pid", "error.log"] { unlink("\(folder)/\(name)") }
    for name in ["body", "proxy", "fastcgi", "uwsgi", "scgi"] { rmdir("\(folder)/\(name)") }
    rmdir(folder)
  }

  private func start() throws {
    let arguments = ["nginx", "-p", folder, "-e", "\(folder)/error.log", "-c", "\(folder)/nginx.conf"]
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { for pointer in pointers { free(pointer) } }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    guard posix_spawn(&process, "/usr/sbin/nginx", nil, &attributes, &pointers, environ) == 0 else {
      throw Failure(what: "posix_spawn")
    }
    let ready = eventually {
      (try? check(CheckTarget(address: loopback, port: port, check: .tcp)))??.verdict == .passed
    }
    if !ready { throw Failure(what: "nginx does not listen") }
  }

  private func write(_ name: String, _ text: String) throws {
    guard let file = fopen("\(folder)/\(name)", "w") else { throw Failure(what: name) }
    fputs(text, file)
    fclose(file)
  }
}

@Test(.enabled(if: Nginx.isInstalled, "nginx is not installed"))
func `a real nginx is checked over both families, by status, host and body`() throws {
  let nginx = try Nginx()
  defer { nginx.stop() }
  let six = IPAddress.v6(IPv6Address(rawValue: 1))
  let cases: [(CheckTarget, CheckResult.Verdict, String)] = [
    (http(nginx.port, "/healthz", contains: "is ok"), .passed, "200 OK"),
    (http(nginx.port, "/healthz", contains: "is ok", address: six), .passed, "200 OK"),
    (http(nginx.port, "/healthz", contains: "is bad"), .failed, "body lacks \"is bad\""),
    (http(nginx.port, "/moved"), .passed, "302 Moved Temporarily"),
    (http(nginx.port, "/moved", statuses: [200...299]), .failed, "302 Moved Temporarily"),
    (http(nginx.port, "/busy"), .failed, "503 Service Temporarily Unavailable"),
    (http(nginx.port, "/busy", statuses: [200...200, 503...503]), .passed, "503 Service Temporarily Unavailable"),
    (http(nginx.port, "/nothing"), .failed, "404 Not Found"),
    (http(nginx.port, "/nothing", host: "other.example", contains: "the other one"), .passed, "200 OK"),
    (http(nginx.port, "/healthz", host: "bad host"), .failed, "400 Bad Request"),
    (http(nginx.port, "/late", contains: "xoky"), .passed, "200 OK"),
    (http(nginx.port, "/big", contains: "ok"), .failed, "the first 64 KiB of the body lack \"ok\""),
    (CheckTarget(address: six, port: nginx.port, check: .tcp), .passed, "connected"),
  ]
  let results = Results()
  let prober = try Prober(cases.map(\.0), report: results.report)
  defer { prober.stop() }
  for index in cases.indices { prober.probe(index, number: UInt64(index)) }
  for (index, expected) in cases.enumerated() {
    let result = results.result(UInt64(index))
    #expect(result?.verdict == expected.1, "\(expected.0)")
    #expect(result?.message == expected.2, "\(expected.0)")
    #expect(result.map { $0.latency > .zero } == true)
  }
}
