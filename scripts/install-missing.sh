# Sourced by the scripts that start servers: installs the Debian packages that are named, or says how.
install_missing() {
  if (($# == 0)); then return; fi
  if ((EUID != 0)); then
    echo "missing $*; install them: sudo apt-get install --no-install-recommends $*" >&2
    exit 1
  fi
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# A folder that these scripts did not make stays as it is: theirs holds the file that is named.
refuse_foreign() {
  local dir=$1 own=$2
  if [[ -e $dir && ! -f $dir/$own && -n $(ls -A "$dir") ]]; then
    echo "$dir is not empty and was not made by this script" >&2
    exit 1
  fi
}
