//! Limits for one file.

use std::time::Duration;

/// Width and height of the largest square picture: twice those of the widest films on sale.
pub(super) const MAX_SIDE_PX: u64 = 8192;

/// The largest picture for a decoder: 100 MB each, of which a decoder holds up to seventeen.
pub(super) const MAX_PIXELS: u64 = MAX_SIDE_PX * MAX_SIDE_PX;

/// Probing reads an index; even a film on a slow network disk answers long before this.
pub(super) const PROBE_TIME_LIMIT: Duration = Duration::from_secs(60);

/// Enough to decode an hour of video without a usable index twice: all processes of one extraction share it.
pub(super) const EXTRACTION_TIME_LIMIT: Duration = Duration::from_secs(1200);

/// The trials answer at once; this is for a machine that is starting up.
pub(super) const TRIAL_TIME_LIMIT: Duration = Duration::from_secs(20);

/// If the whole machine has less than this left, no failure is the file's fault.
pub(super) const MACHINE_MEMORY_MIN_BYTES: u64 = 64 << 20;

/// The demuxers that may read a file: those of videos, and those of sound so that the reason can say so. None of them
/// opens anything else. Playlists, manifests, scripts, image patterns, devices and subtitles are not among them.
pub(super) const DEMUXERS: &str = "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,flv,asf,asf_o,ogg,mxf,gxf,rm,ivf,\
    yuv4mpegpipe,nut,nsv,wtv,dv,h261,h263,h264,hevc,vvc,vc1,obu,av1,dirac,cavsvideo,avs2,avs3,\
    mp3,flac,wav,w64,aac,ac3,eac3,aiff,caf,amr,ape,tta,dts,truehd";
