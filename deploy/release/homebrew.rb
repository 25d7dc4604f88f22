class Sailhand < Formula
  desc "Operates Istio by CloudEvents commands on NATS JetStream"
  homepage "@URL@"
  version "@VERSION@"
  license "Apache-2.0"

  on_macos do
    on_arm do
      url "@URL@/v@VERSION@/sailhand-v@VERSION@-darwin-arm64.tar.gz"
      sha256 "@SHA256_darwin-arm64@"
    end
  end
  on_linux do
    on_intel do
      url "@URL@/v@VERSION@/sailhand-v@VERSION@-linux-amd64.tar.gz"
      sha256 "@SHA256_linux-amd64@"
    end
    on_arm do
      url "@URL@/v@VERSION@/sailhand-v@VERSION@-linux-arm64.tar.gz"
      sha256 "@SHA256_linux-arm64@"
    end
  end

  def install
    bin.install "sailhand", "kubectl-sailhand"
    bash_completion.install "completions/sailhand.bash" => "sailhand"
    zsh_completion.install "completions/sailhand.zsh" => "_sailhand"
    fish_completion.install "completions/sailhand.fish"
    man1.install Dir["man/*.1"]
  end

  test do
    system bin/"sailhand", "version"
  end
end
