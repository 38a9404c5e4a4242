#pragma once

#include <string>

#include "base/error.h"
#include "cli/image_services.h"
#include "image/initramfs.h"
#include "image/pull.h"

namespace lambdo::cli {

/// What the kvm engine starts guests from: as it is, because packing it would only move work into every boot.
image::InitramfsRequest store_initramfs();

/// Writes the image as an initramfs to `path`, which it is only once it is whole. The store keeps nothing of
/// it. All outlive the call.
image::Task<Result<>> write_image_initramfs(ImageServices& services, const image::LocalImage& image,
                                            const image::InitramfsOptions& options, std::string path,
                                            image::CancelToken token);

}  // namespace lambdo::cli
